"""Untrained models of the plugin of the tests, with weights that matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest

from anyformer import plugins
from anyformer.infer.pipeline import Pipeline
from anyformer.train.prepare import new_model, new_task, task_settings


@pytest.fixture(scope="module")
def new_pipeline(letters: ModuleType, unit_scale: Callable[..., None]) -> Callable[..., Pipeline]:
    """A function for a pipeline of a task of words, `new_pipeline("reverse", "trunk.decoder.depth=1")`."""

    def make(name: str, *overrides: str, rows: Sequence[Any] | None = None) -> Pipeline:
        kind = plugins.task(f"letters/{name}")
        settings = task_settings(kind, [], overrides)
        bound = new_task(kind, settings, letters.words(12) if rows is None else rows, None)
        artifact, _ = new_model(f"letters/{name}", bound, settings, None)
        unit_scale(artifact.model)
        return Pipeline(artifact.model, f"letters/{name}")

    return make
