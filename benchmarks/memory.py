"""Memory that an evaluation holds for a record: `uv run python -m benchmarks.memory [TASK ...]`.

A small model is trained for a step, and evaluated on 10,000 records of a file and on 100,000, each in a process of its own;
the difference of their peaks of resident memory is what a record costs. Figures go to `results/memory.json`.

* Both read one file, of which one takes only the first rows, so that what is counted is what the evaluation keeps.
* Both processes are forks of one that has loaded everything, and both begin with an evaluation of a few records, so that
  what is allocated once is in both.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

import anyformer as af
from anyformer.testing.faults import forked
from benchmarks.machine import keep

FEW, MANY = 10_000, 100_000
SMALL = [
    "trunk.encoder.width=16", "trunk.encoder.depth=1", "trunk.encoder.attention.heads=2",
    "trunk.encoder.feed_forward.width=16", "training.device=cpu", "training.steps=1",
]  # fmt: skip
HORIZON = 4


def texts(path: Path, count: int) -> Path:
    """Rows of three words and one of two labels."""
    path = path.with_suffix(".jsonl")
    with path.open("w") as file:
        for row in np.random.default_rng(0).integers(0, 20, (count, 3)).tolist():
            file.write(json.dumps({"text": " ".join(f"w{word}" for word in row), "label": "ab"[row[0] % 2]}) + "\n")
    return path


def prices(path: Path, count: int) -> Path:
    """A series, of which each window is a record."""
    path = path.with_suffix(".csv")
    walk = np.random.default_rng(0).normal(size=count + 5 * HORIZON - 1).cumsum()
    with path.open("w") as file:
        file.write("time,price\n")
        file.writelines(f"{np.datetime64('2000-01-01T00') + hour},{value:.3f}\n" for hour, value in enumerate(walk))
    return path


TASKS: dict[str, tuple[Callable[[Path, int], Path], list[str]]] = {
    "nlp/text-classification": (texts, []),
    "finance/forecast": (prices, [f"config.look_back={4 * HORIZON}", f"config.horizon={HORIZON}"]),
}
"""By task: its data and its settings."""


def resident() -> int:
    """Greatest bytes of resident memory so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def _peak(model: Path, small: Path, data: Path, count: int) -> int:
    """Evaluate on the first `count` rows of a file, in another process; its peak."""
    told = data.with_suffix(".peak")

    def measured() -> None:
        torch.set_num_threads(1)
        af.evaluate(model=model, data=small)
        found = af.evaluate(model=model, data=f"{data}[:{count}]")
        told.write_text(json.dumps([found.records, resident()]))

    said = data.with_suffix(".said")
    assert forked(measured, said) == 0, said.read_text()
    records, peak = json.loads(told.read_text())
    print(f"  {records:,} records: {peak / 2**20:.1f} MiB", flush=True)
    return int(peak)


def bytes_per_record(task: str, folder: Path, few: int = FEW, many: int = MANY) -> float:
    """What each record beyond the first `few` adds to the peak."""
    write, settings = TASKS[task]
    small = write(folder / "small", 300)
    run = folder / "run"
    train = partial(af.finetune, task, data=small, valid="none", out=run, overrides=[*SMALL, *settings])
    assert forked(train, folder / "said") == 0, (folder / "said").read_text()
    data = write(folder / "data", many)
    extra = 5 * HORIZON - 1 if data.suffix == ".csv" else 0
    peaks = [_peak(run, small, data, count + extra) for count in (few, many)]
    return (peaks[1] - peaks[0]) / (many - few)


def main(names: list[str]) -> None:
    """Measure each task."""
    torch.set_num_threads(1)  # a process that is forked may have no other threads
    rows = {}
    for name in names or list(TASKS):
        print(name, flush=True)
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            found = bytes_per_record(name, Path(folder))
        print(f"  {found:.1f} bytes a record ({time.perf_counter() - started:.0f} s)", flush=True)
        rows[name] = {"few": FEW, "many": MANY, "bytes_per_record": round(found, 1)}
    keep("memory", rows)


if __name__ == "__main__":
    main(sys.argv[1:])
