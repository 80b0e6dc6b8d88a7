"""A task made small enough to train in a second: what the contract tests are done with.

* The trunk is the task's own with fewer and narrower blocks; the data are its examples.
* `learn_by_heart` trains without dropout: it shows whether embedding, trunk, head, targets and answers fit together.
* `run` is a true run, with the task's augmentation and dropout on, and may be made to die as if by SIGKILL.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anyformer import api, plugins
from anyformer.artifact import Artifact
from anyformer.hookspecs import hookimpl
from anyformer.infer.pipeline import Pipeline
from anyformer.task import Record, Sample, Task
from anyformer.train.courses import Course
from anyformer.train.drawing import Drawn
from anyformer.train.engine import Engine
from anyformer.train.prepare import new_model, new_task, task_settings
from anyformer.train.run import Run
from anyformer.train.settings import AdamW, Training

NUM_RECORDS = 8
UPDATES = 120
DROPOUT = 0.1
STEPS, SAVE_EVERY, KILLED_AT = 4, 2, 3
"""Of a run. A killed one dies after a step that is logged and not yet saved."""


@dataclass(frozen=True)
class Subject:
    """A task under test."""

    id: str
    kind: type[Task[Any, Any, Any]]
    rows: Sequence[Mapping[str, Any]]
    """Its examples."""

    @classmethod
    def of(cls, id: str) -> Subject:
        """The task of an id."""
        kind = plugins.task(id)
        return cls(id, kind, kind.examples())

    @property
    def trunk(self) -> dict[str, Any]:
        """Settings that make the task's own trunk small, and drop something out."""
        attention = {"heads": 2, "key_value_heads": None, "head_width": None}
        sizes = {"width": 32, "depth": 2, "feed_forward": {"width": 64}, "memory_width": None, "dropout": DROPOUT}
        stack = {**sizes, "attention": attention}
        return {half: stack for half, given in self.kind.default_trunk.items() if given is not None}

    def model(self) -> Small:
        """A small model of the task that has learned nothing yet."""
        settings = task_settings(self.kind, [{"trunk": self.trunk}])
        bound = new_task(self.kind, settings, self.rows, None)
        return Small(self.id, new_model({self.id: bound}, settings, None)[0], self.rows)

    def run(self, folder: Path, killed: bool = False) -> Run:
        """A run of a few steps on the examples, in several micro-packs each; `killed` ends it before the last."""
        training = {
            "steps": STEPS, "save_every": SAVE_EVERY, "log_every": 1, "records": NUM_RECORDS // 2, "tokens": 64,
            "evaluate_every": None, "keep": STEPS, "device": "cpu", "precision": "fp32", "compile": False, "seed": 0,
        }  # fmt: skip
        settings = {"trunk": self.trunk, "training": training}
        listener = _Killer() if killed else object()
        plugins.register(listener)
        try:
            with contextlib.suppress(_Killed):
                api.finetune(self.id, data=self.rows, valid="none", out=folder, settings=settings)
        finally:
            plugins.unregister(listener)
        return Run(folder)


@dataclass(frozen=True)
class Small:
    """A small model of a task and the examples it learns from."""

    id: str
    artifact: Artifact
    rows: Sequence[Mapping[str, Any]]

    @property
    def pipeline(self) -> Pipeline:
        """The model as a user calls it; it is in inference mode from here on."""
        return api.pipeline(self.id, model=self.artifact)

    @property
    def task(self) -> Task[Any, Any, Any]:
        """The bound task."""
        found = self.artifact.model[self.id].task
        assert isinstance(found, Task)
        return found

    @cached_property
    def records(self) -> list[Record[Any, Any]]:
        """Eight records of the examples, or as many as there are."""
        found = self.task.records(self.rows)
        return [found[index] for index in range(min(NUM_RECORDS, len(found)))]

    @cached_property
    def samples(self) -> list[Sample]:
        """The samples of these records, each drawn once by a generator of its own."""
        learn = self.task.learn
        return [s for index, record in enumerate(self.records) for s in learn(record, np.random.default_rng(index))]

    def engine(self, lr: float = 3e-3, tokens: int = 10**9) -> Engine:
        """An engine whose steps are all eight records; `tokens` is the budget of a micro-pack."""
        settings = Training(optimizer=AdamW(lr=lr), tokens=tokens, records=len(self.records))
        return Engine(self.artifact.model, [Course(self.id, self.records)], settings, torch.device("cpu"))

    def learn_by_heart(self) -> tuple[float, float]:
        """The loss on `samples` before and after `UPDATES` updates on the same records."""
        self.artifact.model.eval()  # no dropout
        engine = self.engine()
        before = engine.gradient([Drawn(self.samples)]).means_C.item()
        for step in range(UPDATES):
            engine.optimizer.zero_grad()
            engine.gradient(engine.draw(step))
            engine.optimizer.step()
        return before, engine.gradient([Drawn(self.samples)]).means_C.item()


class _Killed(KeyboardInterrupt):
    """Passes every guard, as a signal would."""


class _Killer:
    """A listener that ends the run."""

    @hookimpl
    def anyformer_step_ended(self, run: Path, line: Mapping[str, Any]) -> None:
        """Called when a line of the log is written."""
        if line["step"] == KILLED_AT:
            raise _Killed
