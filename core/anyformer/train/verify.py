"""Whether a run that is stopped and resumed learns the same: tried on the run itself, with its data and its settings.

From a checkpoint, a few steps are trained twice, in copies of the run in a folder beside it: once straight on, once stopped
on the way and resumed. The run is not touched.

* Each piece is a process of its own that does what `anyformer resume` does, and is stopped as SIGTERM stops it. So what a
  process might keep to itself (a cache, the order of a set, a generator) is lost, as it is in life.
* In the copies every step is logged, with a hash of its samples; nothing else of the settings is changed.
* What differs first is named: the samples of a step, then its loss, then the rest of its line, then weights and other state.
* What differs before the stop was not brought about by it: then training is not repeatable on this device at all.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
import yaml

from anyformer.data.dataset import IN_MEMORY
from anyformer.hookspecs import hookimpl
from anyformer.train import checkpoint
from anyformer.train.checkpoint import Checkpoint
from anyformer.train.counts import Progress
from anyformer.train.log import Log
from anyformer.train.run import Run
from anyformer.train.settings import Training

STEPS = 4
"""Trained twice, if nothing else is asked for."""
GoOn = Callable[[Path, int], None]
"""Trains a run's folder from its newest checkpoint up to a step, and saves there."""
Lines = Sequence[Mapping[str, Any]]
GROUPS = {"model": "weight", "optimizer": "optimizer state", "average": "average", "best": "best weight"}
"""What the groups of a checkpoint's tensors are called."""
_CHILD = """
import sys
from anyformer import plugins
from anyformer.cli import main
from anyformer.train.verify import StopAfter
plugins.register(listener := StopAfter(int(sys.argv[2])))
sys.exit(main(["resume", sys.argv[1]]))
"""


@dataclass(frozen=True)
class Verification:
    """What came out."""

    run: str
    first: int
    """The step both began at."""
    stopped: int
    """The step after which one of them was stopped and resumed."""
    last: int
    """The step both ended at."""
    tensors: int
    """How many were compared."""
    difference: str | None
    """The first thing that differs; None: nothing does."""

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return self.difference is None

    def __str__(self) -> str:
        way = f"from step {self.first}, straight on to {self.last}, and stopped at {self.stopped} and resumed"
        if self.same:
            return f"the same, {way}: the samples, losses and log of each step, and {self.tensors} tensors"
        return f"different, {way}: {self.difference}"


class StopAfter:
    """A listener that asks its own process to stop after a step, as a person or a scheduler does."""

    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def anyformer_step_ended(self, line: Mapping[str, Any]) -> None:
        """Send SIGTERM when the step is done."""
        if line["step"] >= self.step:
            signal.raise_signal(signal.SIGTERM)


def in_another_process(folder: Path, step: int) -> None:
    """Resume a run in a new process, up to a step. Raises `ValueError` with what it said if it failed."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(folder), str(step)], env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 128 + signal.SIGTERM):
        said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise ValueError(f"a copy of the run could not be trained: {said[-1].removeprefix('error: ')}")


def require_files(run: Run) -> None:
    """Raise `ValueError` if the run's data was given in memory, where no other process finds it."""
    page = run.settings
    for part in page.get("parts", [page]):
        told = part.get("data")
        for name in ("data", "valid"):
            if isinstance(told, Mapping) and told.get(name) == IN_MEMORY:
                of = f"{part['id']}: " if part is not page else ""
                raise ValueError(
                    f"{of}the run's {name} was in memory, where the copies of {run.folder} cannot read it; "
                    "write the rows to a file (.jsonl) and verify a run on that"
                )


def verify(
    run: Run, training: Training, num_steps: int, steps: int = STEPS, go_on: GoOn = in_another_process
) -> Verification:
    """Train `steps` steps of a run twice, and compare.

    Args:
        run: it may have finished, and is not changed.
        training: its settings.
        num_steps: steps of the whole run.
        steps: at least 2.
        go_on: trains one piece.

    Begins at the newest checkpoint that has two steps left. If there is none, begins at the first step, with the weights of
    the newest one. Raises `ValueError` for a run with no whole checkpoint or fewer than two steps.
    """
    if steps < 2:
        raise ValueError(f"steps={steps} has nothing between to stop at; give 2 or more")
    if num_steps < 2:
        raise ValueError(f"{run.folder} is a run of one step, which has nothing between to stop at")
    start = _start(run, training, num_steps)
    last = min(start.step + steps, num_steps)
    middle = (start.step + last) // 2
    beside = run.folder.absolute().parent
    with tempfile.TemporaryDirectory(prefix=f".verifying-{run.folder.absolute().name}-", dir=beside) as aside:
        straight, stopped = (_copy(run, Path(aside) / name, start) for name in ("straight", "stopped"))
        go_on(straight, last)
        go_on(stopped, middle)
        go_on(stopped, last)
        ends = [_newest(folder) for folder in (straight, stopped)]
        found = _first_line(Log(straight).lines(), Log(stopped).lines(), middle) or _first_state(*ends)
    return Verification(str(run.folder), start.step, middle, last, len(ends[0].tensors), found)


def _start(run: Run, training: Training, num_steps: int) -> Checkpoint:
    """Where both begin."""
    whole = None
    paths = checkpoint.paths(run.folder / "checkpoints")
    for path in sorted(paths, key=lambda path: (int(path.name) <= num_steps - 2, path.name), reverse=True):
        try:
            found = checkpoint.load(path)
        except ValueError:
            continue  # a damaged one; the run itself passes it over, and says so
        patience = training.selection.patience if training.selection is not None else None
        exhausted = patience is not None and found.scalars.get("best", {}).get("num_worse", 0) >= patience
        if found.step <= num_steps - 2 and not exhausted:
            return found
        whole = whole or found
    if whole is None:
        raise ValueError(f"{run.folder} has no checkpoint that is whole, so there is nothing to go on from")
    weights = {name: tensor for name, tensor in whole.tensors.items() if name.startswith("model/")}
    return Checkpoint(0, weights, {"progress": vars(Progress()), "seconds": 0.0})


def _copy(run: Run, folder: Path, start: Checkpoint) -> Path:
    """A run that stands at a checkpoint, and logs each step."""
    shutil.copytree(run.folder / "prepared", folder / "prepared")
    page = run.settings
    page["settings"]["training"] |= {"log_every": 1, "log_samples": True, "save_every": None}
    (folder / "run.yaml").write_text(yaml.safe_dump(page, sort_keys=False, allow_unicode=True), "utf-8")
    checkpoint.save(folder / "checkpoints", start.step, start.read(), start.scalars, keep=1)
    return folder


def _newest(folder: Path) -> Checkpoint:
    found, problems = checkpoint.newest(folder / "checkpoints")
    assert found is not None, problems
    return found


def _first_line(straight: Lines, stopped: Lines, middle: int) -> str | None:
    """The first thing in which two logs differ."""
    nothing: Mapping[str, Any] = {}
    for one, other in zip_longest(straight, stopped, fillvalue=nothing):
        for name in dict.fromkeys(("step", "samples", "train/loss", *one, *other)):
            if name != "seconds" and one.get(name) != other.get(name):
                step = min(line["step"] for line in (one, other) if line)
                said = {"samples": "the samples", "train/loss": "the loss", "step": "the line"}.get(name, repr(name))
                values = "" if name in ("samples", "step") else f" ({one.get(name)}, and {other.get(name)} if stopped)"
                before = "; that was before the stop: this training cannot be repeated at all" if step <= middle else ""
                return f"{said} of step {step}{values}{before}"
    return None


def _first_state(straight: Checkpoint, stopped: Checkpoint) -> str | None:
    """The first thing in which two checkpoints differ: weights, then what the optimizer and others keep, then counts."""
    names = dict.fromkeys([*straight.tensors, *stopped.tensors])
    for name in sorted(names, key=lambda name: list(GROUPS).index(name.partition("/")[0])):
        one, other = straight.tensors.get(name), stopped.tensors.get(name)
        if one is None or other is None or not _same(one.read(), other.read()):
            group, _, own = name.partition("/")
            return f"the {GROUPS[group]} {own!r} after step {straight.step}"
    for name in dict.fromkeys([*straight.scalars, *stopped.scalars]):
        if name != "seconds" and straight.scalars.get(name) != stopped.scalars.get(name):
            return f"the state {name!r} after step {straight.step}"
    return None


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Bit for bit."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))
