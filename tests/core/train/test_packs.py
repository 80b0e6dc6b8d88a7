"""Samples to micro-packs: nothing lost, nothing reordered, the budget kept."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from anyformer.data.packs import collate, cut
from anyformer.task import Sample


def samples(*lengths: int) -> list[Sample]:
    rng = np.random.default_rng(0)
    return [Sample({"source": rng.integers(0, 9, length)}, {"label": np.array([length])}) for length in lengths]


@pytest.mark.parametrize("budget", [1, 5, 7, 8, 100])
def test_groups_keep_order_and_budget(budget: int) -> None:
    given = samples(3, 1, 4, 1, 5, 9, 2, 6)
    groups = list(cut(given, budget))
    assert [sample for group in groups for sample in group] == given
    assert all(len(group) == 1 or sum(sample.cost for sample in group) <= budget for group in groups)
    assert all(
        sum(sample.cost for sample in group) + following[0].cost > budget
        for group, following in itertools.pairwise(groups)
    ), "a group that could have taken the next sample did not"


def test_too_long_sample_goes_alone() -> None:
    assert [[sample.cost for sample in group] for group in cut(samples(2, 50, 2, 2), 10)] == [[2], [50], [2, 2]]


def test_cost_counts_all_parts_and_no_target() -> None:
    sample = Sample({"source": np.zeros(3), "target": np.zeros((4, 8))}, {"labels": np.zeros(100)})
    assert sample.cost == 7


def test_cut_is_lazy() -> None:
    taken = []
    given = (taken.append(sample) or sample for sample in samples(4, 4, 4, 4))
    next(iter(cut(given, 8)))
    assert len(taken) == 3


def test_collate_lays_end_to_end() -> None:
    given = samples(3, 1, 4)
    parts, targets = collate(given)
    assert parts["source"].values.tolist() == np.concatenate([sample.parts["source"] for sample in given]).tolist()
    assert parts["source"].pack.lengths == [3, 1, 4]
    assert parts["source"].pack.positions.tolist() == [0, 1, 2, 0, 0, 1, 2, 3]
    assert targets["label"].values.tolist() == [3, 1, 4]
    assert targets["label"].pack.lengths == [1, 1, 1]


def test_collate_keeps_patches() -> None:
    given = [Sample({"source": np.full((length, 2), length, np.float32)}) for length in (2, 3)]
    parts, targets = collate(given)
    assert parts["source"].values.dtype == torch.float32
    assert parts["source"].values.shape == (5, 2)
    assert targets == {}


def test_collate_copies() -> None:
    """A task may keep what it gave; a step must not change it."""
    (given,) = samples(3)
    parts, _ = collate([given])
    parts["source"].values.zero_()
    assert given.parts["source"].any()


def test_different_parts_are_refused() -> None:
    one, other = Sample({"source": np.zeros(2)}), Sample({"target": np.zeros(2)})
    with pytest.raises(ValueError, match=r"same parts; one has \['source'\], another \['target'\]"):
        collate([one, other])
