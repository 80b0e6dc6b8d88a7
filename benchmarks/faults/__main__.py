"""Runs every case on both systems: `uv run python -m benchmarks.faults [CASE ...]`, for example `"out of memory"`."""

from __future__ import annotations

import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from benchmarks.faults.cases import CASES
from benchmarks.faults.ends import Row
from benchmarks.faults.ours import Ours
from benchmarks.faults.systems import System
from benchmarks.faults.trainer import Trainer
from benchmarks.machine import keep

ROWS, WORDS = 64, 12
OPTIONS = {"out of memory": {"auto_find_batch_size": True}, "SIGTERM": {"enable_jit_checkpoint": True}}
"""What Trainer offers for a case, off by default."""


def texts() -> list[dict[str, str]]:
    """Rows of as many words each, with a label that can be learned from them."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 30, (ROWS, WORDS))
    return [{"text": " ".join(f"w{word}" for word in row), "label": "ab"[row[0] % 2]} for row in drawn.tolist()]


def main(names: list[str]) -> None:
    """Print what became of each, and keep it."""
    torch.set_num_threads(1)  # a process that is forked may have no other threads
    rows: dict[str, dict[str, Row]] = {}
    for name in names or list(CASES):
        print(f"{name}: {CASES[name].__doc__}", flush=True)
        with tempfile.TemporaryDirectory() as aside:
            systems: list[System] = [Ours(texts(), Path(aside)), Trainer(texts())]
            if name in OPTIONS:
                systems.append(Trainer(texts(), **OPTIONS[name]))
            rows[name] = {}
            for number, system in enumerate(systems):
                folder = Path(aside) / str(number)
                folder.mkdir()
                started = time.perf_counter()
                found = CASES[name](system, folder)
                rows[name][system.name] = {**found, "seconds": round(time.perf_counter() - started, 1)}
                print(f"  {system.name}: {found['said']} ({time.perf_counter() - started:.0f} s)", flush=True)
    keep("faults", {**rows, "transformers": version("transformers")})


if __name__ == "__main__":
    main(sys.argv[1:])
