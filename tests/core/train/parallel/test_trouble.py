"""What goes wrong on one process of two: both do the same about it, and neither waits in vain."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from processes import on_ranks

from anyformer.train import engine as engine_page
from anyformer.train.parallel.gathering import whole
from anyformer.train.parallel.world import ALONE, World
from anyformer.train.settings import SGD, AdamW, Parallel

sys.path.insert(0, str(Path(__file__).parent))
from engines import TASKS, WAYS, engine_of

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


class Poisoned:
    """Losses that are not a number, in one step."""

    def __init__(self, engine: Any, step: int) -> None:
        self.engine, self.run, self.step = engine, engine.run, step
        engine.run = self

    def __call__(self, *given: Any) -> Any:
        factor = math.nan if self.engine.step == self.step else 1.0
        return {term: total * factor for term, total in self.run(*given).items()}


def a_bad_first_step(world: World, way: str, optimizer: Any) -> list[Any]:
    """Train; the second process finds losses that are not a number in the first step, and a bad record in the next."""
    engine = engine_of(TASKS[:2], world, WAYS[way], torch.float32, optimizer=optimizer, ema=0.9, bad_records=1)
    said: list[str] = []
    engine.warn = said.append
    before = weights(engine)
    if world.rank == 1:
        Poisoned(engine, 0)
        source = engine.sources[0]
        learn, bad = source.learn, source.records[source.order.step(1)[1].index]

        def fails(record: Any, rng: Any) -> Any:
            if record == bad:
                raise ValueError("is no text")
            return learn(record, rng)

        source.learn = fails
    lines = [engine.advance() or {} for _ in range(STEPS)]
    counts = [(line["skipped"], line["bad_records"], line["train/loss"] is None) for line in lines]
    average = engine.average
    assert average is not None
    after = weights(engine)
    assert engine.not_finite() is None
    moved = max(float(np.abs(after[name] - before[name]).max()) for name in before)
    return [counts, [line.partition("; ")[0] for line in said], moved]


@pytest.mark.parametrize("way", ["replicas", "shards"])
@pytest.mark.parametrize("optimizer", [AdamW(lr=1e-3), SGD(lr=1e-3)], ids=["adamw", "sgd"])
def test_what_one_process_finds_all_do_something_about(way: str, optimizer: AdamW | SGD) -> None:
    """Skipped by both, named by both, and counted by both."""
    one, other = on_ranks(a_bad_first_step, 2, way, optimizer, shard=WAYS[way].shard)
    assert one == other
    counts, said, moved = one
    assert counts == [(1, 0, True), (1, 1, False), (1, 1, False)]
    assert 0 < moved < 0.1
    assert said[0].startswith("step 0 was left out, for a gradient that is not finite, at ")
    assert said[1].endswith("is no text")


def few_records(world: World, way: str, precision: str) -> list[float]:
    """Train with steps of two records of two tasks: one process has none."""
    given = {"records": 2, "precision": precision, "optimizer": SGD(lr=1e-3)}
    with mock.patch.object(engine_page, "check_precision"):  # fp16 without a GPU
        engine = engine_of(TASKS[:2], world, Parallel() if world is ALONE else WAYS[way], torch.float32, **given)
    engine.scaler.factor.fill_(64.0)
    lines = [engine.advance() or {} for _ in range(STEPS)]
    assert lines[-1]["skipped"] == 0
    return [line["train/loss"] for line in lines] + [float(engine.scaler.num_good)]


@pytest.mark.parametrize(("way", "precision"), [("replicas", "fp32"), ("shards", "fp32"), ("replicas", "fp16")])
def test_a_process_without_samples_keeps_step(way: str, precision: str) -> None:
    alone = few_records(ALONE, way, precision)
    for found in on_ranks(few_records, 2, way, precision, shard=WAYS[way].shard):
        np.testing.assert_allclose(found, alone, rtol=1e-5 if precision == "fp32" else 1e-2)
    assert alone[-1] == (STEPS if precision == "fp16" else 0)
