"""Operations of whole models, beside the sum of their parts."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from anyformer.artifact import Artifact
from anyformer.plan.counted import run_flops_per_token
from anyformer.plan.flops import forward_flops


@pytest.mark.parametrize("window", [None, 2])
def test_the_trunk_and_a_head_once_a_sequence(
    new_letters_model: Callable[..., Artifact], letters: ModuleType, window: int | None
) -> None:
    made = new_letters_model("richest", *([] if window is None else [f"trunk.encoder.attention.window={window}"]))
    component = made.model["letters/richest"]
    records = component.task.records(letters.words(4))
    rng = np.random.default_rng(0)
    samples = [sample for record in records for sample in component.task.learn(record, rng)]
    matrices = sum(weight.numel() for weight in component.head.parameters() if weight.ndim > 1)
    forward = sum(forward_flops(made.trunk, {"source": sample.cost}) + 2 * matrices for sample in samples)
    assert len({sample.cost for sample in samples}) > 1
    found = run_flops_per_token(made.model, "letters/richest", records)
    assert found == pytest.approx(3 * forward / sum(sample.cost for sample in samples))
