"""A case: one job done by us and by the home library, timed in turns, compared, and set beside what the machine allows."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from benchmarks.inference import CASES, OURS
from benchmarks.inference.limits import Limits, Phase
from benchmarks.machine import keep
from benchmarks.rounds import Row, interleave

TOLERANCE = 1e-4
"""Of our answers in fp32: difference at most, relative to the greatest magnitude."""
LEAST_SECONDS = 1.0
"""A variant repeats its job for so long in each round."""

Job = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """The same job for several sides."""

    level: str
    """Where all sides start and end."""
    unit: str
    amount: float
    """Units that one call answers."""
    ours: Job
    theirs: Mapping[str, Job]
    """By name; the first is the home library as it comes, all others are what its manuals advise."""
    phases: Sequence[Phase]
    """What one call cannot do without."""
    difference: Callable[[Any, Any], float]
    """How far an answer is from another: 0 where they are equal."""
    tolerance: float = TOLERANCE
    """In fp32; 0 where tokens must be identical."""


@dataclass(frozen=True)
class Asked:
    """What a case is built for."""

    name: str
    precision: str
    quick: bool
    """Leaves out what takes long to make, such as compiled variants."""


def relative(found: Sequence[Tensor], true: Sequence[Tensor]) -> float:
    """The greatest difference over the greatest true magnitude."""
    pairs = list(zip(found, true, strict=True))
    assert all(own.shape == other.shape for own, other in pairs)
    greatest = max(float(other.abs().max()) for _, other in pairs)
    errors = torch.stack([(own.float() - other.float()).abs().max() for own, other in pairs])
    return float(errors.max()) / greatest  # unlike that of Python, this maximum is no number where one error is none


def share_of_other_tokens(found: Sequence[list[int]], true: Sequence[list[int]]) -> float:
    """The share of places that do not hold the same token; a place that one side lacks is one of them."""
    pairs = [pair for answers in zip(found, true, strict=True) for pair in zip_longest(*answers)]
    return sum(own != other for own, other in pairs) / len(pairs)


def measure(name: str, precision: str, rounds: int, quick: bool) -> int:
    """Build, compare, time, print and keep one case; 1 where our answers in fp32 are not the home library's."""
    page, goals = CASES[name]
    torch.manual_seed(0)
    case: Case = importlib.import_module(f"benchmarks.inference.{page}").build(Asked(name, precision, quick))
    default = next(iter(case.theirs))
    limits = Limits.measured(precision, quick)
    jobs = {OURS: case.ours, **case.theirs}
    true = case.theirs[default]()
    differences = {each: case.difference(job(), true) for each, job in jobs.items()}
    rows = interleave({each: _rate(job, case.amount, quick) for each, job in jobs.items()}, rounds, default)
    share = rows[OURS].rate.median * limits.seconds(case.phases) / case.amount
    print(f"{name} in {precision}, {torch.get_num_threads()} threads; {case.level}")
    _show(rows, differences, case.unit)
    print(f"limits: {limits.flops / 1e9:.0f} GFLOP/s, {limits.bytes / 1e9:.1f} GB/s; our share: {share:.0%}")
    agrees = precision != "fp32" or differences[OURS] <= case.tolerance  # false where it is no number
    if not agrees:
        print(f"our answers differ by {differences[OURS]:.1e}, and may differ by {case.tolerance:.0e}")
    goal = goals.get(precision)
    if not quick:
        kept = {each: asdict(row) | {"difference": differences[each]} for each, row in rows.items()}
        keep("inference", {f"{name} {precision}": {
            "case": name, "precision": precision, "level": case.level, "unit": case.unit, "goal": goal,
            "threads": torch.get_num_threads(), "agrees": agrees, "share": share, "limits": asdict(limits),
            "default": default, "rows": kept, "versions": _versions(),
        }})  # fmt: skip
    print(f"asked for: {goal}")
    print(f"ratio {rows[OURS].ratio.median:.3f}")
    return 0 if agrees else 1


def _rate(job: Job, amount: float, quick: bool) -> Callable[[], float]:
    def rate() -> float:
        calls, began = 0, time.perf_counter()
        while not calls or (not quick and time.perf_counter() - began < LEAST_SECONDS):
            job()
            calls += 1
        return calls * amount / (time.perf_counter() - began)

    return rate


def _show(rows: Mapping[str, Row], differences: Mapping[str, float], unit: str) -> None:
    width = max(map(len, rows))
    for name, row in rows.items():
        print(f"{name:<{width}}  {row.rate} {unit}   x {row.ratio}   differs by {differences[name]:.1e}")


def _versions() -> dict[str, str]:
    """Of the home libraries that are there."""
    found = {}
    for name in ("transformers", "timm", "ctranslate2"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
