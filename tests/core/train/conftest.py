"""Engines and runs of the plugin of the tests, a listener, and what a kill leaves of a run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from anyformer import api, plugins
from anyformer.artifact import Artifact
from anyformer.hookspecs import hookimpl
from anyformer.train.courses import Course
from anyformer.train.engine import Engine
from anyformer.train.prepare import task_settings
from anyformer.train.run import Run

sys.path.insert(0, str(Path(__file__).parent))  # for `processes`, which starts several ranks
STEPS = 8
"""Of a run: two epochs of sixteen records, four a step."""


@pytest.fixture(scope="module")
def new_engine(letters: ModuleType, new_letters_model: Callable[..., Artifact]) -> Callable[..., Engine]:
    """A function for an engine on rows of words, `new_engine("richest", "training.steps=5")`."""

    def make(name: str = "richest", *overrides: str, rows: Sequence[Any] | None = None) -> Engine:
        rows = letters.words(12) if rows is None else rows
        id = f"letters/{name}"
        model = new_letters_model(name, *overrides, rows=rows).model
        training = task_settings(plugins.task(id), [], overrides).training
        task: Any = model[id].task
        return Engine(model, [Course(id, task.records(rows))], training, torch.device("cpu"))

    return make


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.saved: list[str] = []
        self.ended: list[str] = []

    @hookimpl
    def anyformer_run_warned(self, warning: str) -> None:
        self.warnings.append(warning)

    @hookimpl
    def anyformer_checkpoint_saved(self, checkpoint: Path) -> None:
        self.saved.append(checkpoint.name)

    @hookimpl
    def anyformer_run_ended(self, reason: str) -> None:
        self.ended.append(reason)


@pytest.fixture
def heard() -> Iterator[Heard]:
    """What is told of the runs of a test."""
    listener = Heard()
    plugins.register(listener)
    yield listener
    plugins.unregister(listener)


@pytest.fixture(scope="module")
def begin(letters: ModuleType) -> Callable[..., Run]:
    """A function that trains in a folder, with a checkpoint at each step."""

    def begin(out: Path, *overrides: str, valid: Any = "none", task: str = "letters/richest", **given: Any) -> Run:
        every = [f"training.steps={STEPS}", "training.save_every=1", "training.keep=99", *overrides]
        return api.finetune(task, data=letters.words(16), out=out, valid=valid, overrides=every, **given)

    return begin


@pytest.fixture(scope="module")
def whole(begin: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing disturbed."""
    return begin(tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture(scope="session")
def stopped_at() -> Callable[[Run, Path, int], Path]:
    """A function that copies a run to a folder, as a kill right after the checkpoint of a step leaves it."""

    def copy(run: Run, folder: Path, step: int) -> Path:
        shutil.copytree(run.folder, folder, ignore=shutil.ignore_patterns("model", "report.html"))
        for path in (folder / "checkpoints").iterdir():
            if int(path.name) > step:
                shutil.rmtree(path)
        return folder

    return copy


@pytest.fixture(scope="session")
def assert_same() -> Callable[[Run, Run], None]:
    """A function that demands weights, optimizer and log of one run to be those of another, bit for bit."""

    def lines(run: Run) -> list[dict[str, Any]]:
        return [{key: value for key, value in line.items() if key != "seconds"} for line in run.log.lines()]

    def check(run: Run, other: Run) -> None:
        for file in ("model/model.safetensors", f"checkpoints/{STEPS:08d}/rank0.safetensors"):
            assert (run.folder / file).read_bytes() == (other.folder / file).read_bytes(), file
        assert lines(run) == lines(other)

    return check
