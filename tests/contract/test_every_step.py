"""A run that is stopped after any step of two epochs and resumed ends the same, for a task of each domain and for all.

Dropout and each task's own augmentation or masking are on, and a step is several micro-packs. Weights and optimizer are
compared byte for byte, the log line for line.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from anyformer import api, plugins
from anyformer.testing.subject import Subject
from anyformer.train.run import Run

OF_EACH_DOMAIN = ("nlp/fill-mask", "vision/image-classification", "bio/fill-mask", "finance/forecast")
QUICK, LONG = 4, 8
"""Steps of two epochs."""


def lines(run: Run) -> list[dict[str, Any]]:
    return [{**line, "seconds": None} for line in run.log.lines()]


def resumed_at_every_step(id: str, folder: Path, steps: int) -> None:
    subject = Subject.of(id)
    num_records = len(subject.model().task.records(subject.rows))
    training = {
        "steps": steps, "records": max(1, 2 * num_records // steps), "tokens": 64, "save_every": 1, "keep": steps + 1,
        "log_every": 1, "log_samples": True, "device": "cpu",
    }  # fmt: skip
    settings = {"trunk": subject.trunk, "training": training}
    whole = api.finetune(id, data=subject.rows, valid="none", out=folder / "whole", settings=settings)
    assert all(half["dropout"] > 0 for half in subject.trunk.values())
    for step in range(steps):
        run = folder / str(step)
        shutil.copytree(whole.folder, run, ignore=shutil.ignore_patterns("model", "report.html"))
        for path in (run / "checkpoints").iterdir():
            if int(path.name) > step:
                shutil.rmtree(path)
        resumed = api.resume(run, data=subject.rows)
        for file in ("model/model.safetensors", f"checkpoints/{steps:08d}/rank0.safetensors"):
            assert (run / file).read_bytes() == (whole.folder / file).read_bytes(), f"resumed at {step}: {file}"
        assert lines(resumed) == lines(whole), f"resumed at {step}"
        shutil.rmtree(run)


@pytest.mark.parametrize("id", OF_EACH_DOMAIN)
def test_of_a_task_of_each_domain(id: str, tmp_path: Path) -> None:
    if id not in plugins.tasks():
        pytest.skip(f"no plugin has {id}")
    resumed_at_every_step(id, tmp_path, QUICK)


@pytest.mark.slow
def test_of_every_task(tmp_path: Path) -> None:
    for number, id in enumerate(sorted(plugins.tasks())):
        resumed_at_every_step(id, tmp_path / str(number), LONG)
