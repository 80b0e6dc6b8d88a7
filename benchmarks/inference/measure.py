"""Measuring a case: its sides take turns, each in a process of its own; then they are compared, printed and kept."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import torch

from benchmarks.apart import Apart
from benchmarks.inference import CASES, OURS
from benchmarks.inference.case import Asked
from benchmarks.inference.limits import Limits
from benchmarks.inference.process import Side
from benchmarks.machine import keep
from benchmarks.rounds import Row, interleave


def measure(name: str, precision: str, rounds: int, quick: bool) -> int:
    """Compare, time, print and keep one case; 1 where our answers in fp32 are not the home library's."""
    _, goals = CASES[name]
    asked = Asked(name, precision, quick)
    limits = Limits.measured(precision, quick)
    with ExitStack() as open_sides:
        first = open_sides.enter_context(Apart(Side, asked, ""))
        about = first.ask("about")
        default, *others = about.names
        sides = {OURS: open_sides.enter_context(Apart(Side, asked, OURS)), default: first}
        sides |= {each: open_sides.enter_context(Apart(Side, asked, each)) for each in others}
        differences = {each: float(first.ask("difference", side.ask("answer"))) for each, side in sides.items()}
        rows = interleave({each: partial(side.ask, "rate") for each, side in sides.items()}, rounds, default)
    share = rows[OURS].rate.median * limits.seconds(about.phases) / about.amount
    print(f"{name} in {precision}, {torch.get_num_threads()} threads; {about.level}")
    _show(rows, differences, about.unit)
    print(f"limits: {limits.flops / 1e9:.0f} GFLOP/s, {limits.bytes / 1e9:.1f} GB/s; our share: {share:.0%}")
    agrees = precision != "fp32" or differences[OURS] <= about.tolerance  # false where it is no number
    if not agrees:
        print(f"our answers differ by {differences[OURS]:.1e}, and may differ by {about.tolerance:.0e}")
    goal = goals.get(precision)
    if not quick:
        kept = {each: asdict(row) | {"difference": differences[each]} for each, row in rows.items()}
        keep("inference", {f"{name} {precision}": {
            "case": name, "precision": precision, "level": about.level, "unit": about.unit, "goal": goal,
            "threads": torch.get_num_threads(), "agrees": agrees, "share": share, "limits": asdict(limits),
            "default": default, "rows": kept, "versions": _versions(),
        }})  # fmt: skip
    print(f"asked for: {goal}")
    print(f"ratio {rows[OURS].ratio.median:.3f}")
    return 0 if agrees else 1


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
