"""Untrained models of the plugin of the tests, with weights that matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from anyformer.artifact import Artifact
from anyformer.infer.pipeline import Pipeline


@pytest.fixture(scope="module")
def new_pipeline(
    new_letters_model: Callable[..., Artifact], unit_scale: Callable[..., None]
) -> Callable[..., Pipeline]:
    """A function for a pipeline of a task of words, `new_pipeline("reverse", "trunk.decoder.depth=1")`."""

    def make(name: str, *overrides: str, **given: Any) -> Pipeline:
        model = new_letters_model(name, *overrides, **given).model
        unit_scale(model)
        return Pipeline(model, f"letters/{name}")

    return make
