"""What goes wrong on one process of two: both do the same about it, and neither waits in vain."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processes import on_ranks

from anyformer.train.parallel.gathering import whole
from anyformer.train.parallel.world import ALONE, World
from anyformer.train.settings import Parallel

sys.path.insert(0, str(Path(__file__).parent))
from engines import TASKS, engine_of

STEPS = 3


def weights(engine: Any) -> dict[str, np.ndarray]:
    return {name: whole(weight).numpy().copy() for name, weight in engine.model.named_parameters()}


class Full:
    """A device that is full once, at the chosen pack that it is given."""

    def __init__(self, engine: Any, pack: int) -> None:
        self.run, self.pack = engine.run, pack
        engine.run = self

    def __call__(self, *given: Any) -> Any:
        self.pack -= 1
        if self.pack == 0:
            raise torch.OutOfMemoryError
        return self.run(*given)


def steps_with_a_full_device(world: World, pack: int) -> tuple[dict[str, np.ndarray], int, list[str]]:
    """Train in float64; the device of the second process is full once."""
    engine = engine_of(TASKS[:2], world, Parallel(), torch.float64)
    said: list[str] = []
    engine.warn = said.append
    if world.rank == 1:
        Full(engine, pack)
    for _ in range(STEPS):
        engine.advance()
    return weights(engine), engine.budget, said


@pytest.mark.parametrize("pack", [1, 2, 4])
def test_memory_that_runs_out_on_one_process(pack: int) -> None:
    """Both do the step again in smaller packs, and the weights are those of a process that had room."""
    alone, budget, _ = steps_with_a_full_device(ALONE, pack)
    for other, smaller, said in on_ranks(steps_with_a_full_device, 2, pack):
        assert smaller < budget
        assert [line[:13] for line in said] == ["out of memory"]
        for name, value in alone.items():
            np.testing.assert_allclose(other[name], value, rtol=0, atol=1e-10, err_msg=name)
