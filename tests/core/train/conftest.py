"""Engines and runs of the plugin of the tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest
import torch

from anyformer import plugins
from anyformer.train.engine import Engine
from anyformer.train.prepare import new_model, new_task, task_settings


@pytest.fixture(scope="module")
def new_engine(letters: ModuleType) -> Callable[..., Engine]:
    """A function for an engine on rows of words, `new_engine("richest", "training.steps=5")`."""

    def make(name: str = "richest", *overrides: str, rows: Sequence[Any] | None = None) -> Engine:
        rows = letters.words(12) if rows is None else rows
        kind = plugins.task(f"letters/{name}")
        settings = task_settings(kind, [], overrides)
        bound = new_task(kind, settings, rows, None)
        artifact, _ = new_model(f"letters/{name}", bound, settings, None)
        records = bound.records(rows)
        return Engine(artifact.model, f"letters/{name}", records, settings.training, torch.device("cpu"))

    return make
