"""The harness itself: ranks find one another, speak, and say which of them failed."""

from __future__ import annotations

import pytest
import torch
from processes import on_ranks

from anyformer.train.parallel.world import ALONE, World


def speak(world: World, word: str) -> tuple[object, ...]:
    summed = world.add(torch.tensor([world.rank + 1.0]))
    return world.data, world.along("tensor"), summed.item(), world.most([world.rank]), world.collect(word * world.rank)


def fail(world: World) -> None:
    if world.rank == 1:
        raise ValueError("rank one is ill")
    world.wait()


def test_ranks_speak() -> None:
    first, second = on_ranks(speak, 2, "ab")
    assert first == ((0, 2), (0, 1), 3.0, [1], ["", "ab"])
    assert second == ((1, 2), (0, 1), 3.0, [1], ["", "ab"])


def test_tensor_ranks_see_the_same_records() -> None:
    found = on_ranks(speak, 2, "", tensor=2)
    assert [(data, along, summed) for data, along, summed, *_ in found] == [
        ((0, 1), (0, 2), 1.0),
        ((0, 1), (1, 2), 2.0),
    ]


def test_one_that_fails_is_named() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)rank 1 failed:.*rank one is ill"):
        on_ranks(fail, 2)


def test_alone() -> None:
    assert ALONE.data == (0, 1)
    assert ALONE.collect("a") == ["a"]
    assert ALONE.add(torch.ones(1)).item() == 1
