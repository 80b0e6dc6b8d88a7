"""A run that is killed at any moment and resumed ends as the undisturbed one: weights and optimizer bit for bit.

* The kill is SIGKILL, from within: at a chosen moment of all that are counted (see `anyformer.testing.faults`), steps
  included. So it falls into the middle of a write or a save as often as between two steps.
* The quick version forks this process for each attempt; the slow one kills the real shell, from within and by the clock.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from anyformer import api
from anyformer.testing.faults import Moments, forked
from anyformer.train.engine import Engine
from anyformer.train.run import Run

STEPS = 80
LONG = 1500
"""So that a quick machine does not finish before the tenth kill."""
SETTINGS = [f"training.steps={STEPS}", "training.save_every=4", "training.log_every=3", "training.evaluate_every=10"]
KILLER = '''"""Kills this process with SIGKILL at the KILL_AT-th moment of all that it writes."""
import os

if int(os.environ.get("KILL_AT", "0")):
    from anyformer.testing.faults import Moments

    watching = Moments(int(os.environ["KILL_AT"])).watching()
    watching.__enter__()
'''


def lines(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in found]


def assert_same(folder: Path, whole: Path, num_steps: int = STEPS) -> None:
    """Weights, optimizer, log and scores are those of the undisturbed run, and the log has every line once."""
    for file in ("model/model.safetensors", f"checkpoints/{num_steps:08d}/rank0.safetensors"):
        assert (folder / file).read_bytes() == (whole / file).read_bytes(), file
    assert lines(folder) == lines(whole)
    steps = [line["step"] for line in lines(folder) if "lr" in line]
    assert steps == sorted({*range(3, num_steps, 3), num_steps})
    assert [line["step"] for line in lines(folder) if "valid/accuracy" in line] == list(range(10, num_steps, 10))
    assert not list(folder.rglob(".writing-*"))
    scores = [json.loads((each / "scores.json").read_text()) for each in (folder, whole)]
    assert {**scores[0], "model": ""} == {**scores[1], "model": ""}


def watched(call: Callable[[], Any], moments: Moments) -> int:
    """Make a call whose steps count too."""
    with moments.watching((Engine, "advance")):
        call()
    return 0


@pytest.mark.parametrize("seed", range(2))
def test_killed_again_and_again(letters: ModuleType, tmp_path: Path, seed: int) -> None:
    data = {"data": letters.words(24), "valid": letters.words(4, seed=1)}

    def begin(folder: Path) -> Run:
        return api.finetune("letters/richest", out=folder, overrides=SETTINGS, **data)

    moments = Moments()
    watched(lambda: begin(tmp_path / "whole"), moments)
    folder = tmp_path / "run"
    kills = 0
    for share in np.random.default_rng(seed).uniform(0, 0.35, 5):
        there = (folder / "run.yaml").exists()
        go_on: Callable[[], Any] = (lambda: api.resume(folder, **data)) if there else (lambda: begin(folder))
        code = forked(lambda go_on=go_on: watched(go_on, Moments(1 + int(share * len(moments.names)))))  # noqa: B023
        assert code in (0, -signal.SIGKILL), "the run failed by itself"
        kills += code != 0
    assert kills >= 4, "the run was over before it could be killed"
    run = api.resume(folder, **data)
    assert_same(run.folder, tmp_path / "whole")


@pytest.mark.slow
def test_the_shell_killed_ten_times(letters: ModuleType, letters_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "killer").mkdir()
    (tmp_path / "killer" / "sitecustomize.py").write_text(KILLER)
    for name, rows in (("train", letters.words(24)), ("valid", letters.words(4, seed=1))):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'killer'}:{letters_folder}", "OMP_NUM_THREADS": "1"}
    shell = [sys.executable, "-c", "import sys; from anyformer.cli import main; sys.exit(main())"]

    def start(folder: Path, kill_at: int = 0) -> subprocess.Popen[str]:
        asked = ["resume", str(folder)]
        if not (folder / "run.yaml").exists():
            data = [f"--data={tmp_path / 'train.jsonl'}", f"--valid={tmp_path / 'valid.jsonl'}"]
            asked = ["finetune", "letters/richest", *data, f"--out={folder}", *SETTINGS, f"training.steps={LONG}"]
        return subprocess.Popen(
            [*shell, *asked], env={**environment, "KILL_AT": str(kill_at)}, text=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )  # fmt: skip

    whole, folder = tmp_path / "whole", tmp_path / "run"
    _, said = (undisturbed := start(whole)).communicate(timeout=300)
    assert undisturbed.returncode == 0, said
    rng = np.random.default_rng(0)
    for attempt in range(10):
        by_clock = attempt % 2 == 1
        process = start(folder, 0 if by_clock else int(rng.integers(1, 200)))
        if by_clock:  # some time after it has begun to write
            before = (folder / "metrics.jsonl").stat().st_mtime_ns
            while process.poll() is None and (folder / "metrics.jsonl").stat().st_mtime_ns == before:
                time.sleep(0.005)
            time.sleep(float(rng.uniform(0, 0.2)))
            process.kill()
        _, said = process.communicate(timeout=300)
        assert process.returncode == -signal.SIGKILL, f"attempt {attempt}: {said}"
    _, said = (last := start(folder)).communicate(timeout=300)
    assert last.returncode == 0, said
    assert_same(folder, whole, LONG)
