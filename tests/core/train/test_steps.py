"""The order of records and all randomness are functions of the seed and the step."""

from __future__ import annotations

import numpy as np
import pytest

from anyformer.data.steps import Draw, Order, model_seed, permutation, record_rng


@pytest.mark.parametrize(("num_records", "per_step"), [(10, 4), (7, 7), (3, 8), (1, 2), (64, 5)])
def test_each_epoch_takes_each_record_once(num_records: int, per_step: int) -> None:
    order = Order(3, num_records, per_step)
    draws = [draw for step in range(4 * num_records) for draw in order.step(step)]
    for epoch in range(len(draws) // num_records):
        of_epoch = draws[epoch * num_records : (epoch + 1) * num_records]
        assert [draw.epoch for draw in of_epoch] == [epoch] * num_records
        assert sorted(draw.index for draw in of_epoch) == list(range(num_records))


def test_a_step_is_the_same_whatever_was_asked_before() -> None:
    in_order = [Order(5, 23, 6).step(step) for step in range(40)]
    for step in np.random.default_rng(0).permutation(40).tolist():
        permutation.cache_clear()
        assert Order(5, 23, 6).step(step) == in_order[step]


def test_epochs_and_seeds_differ() -> None:
    orders = {tuple(permutation(seed, epoch, 50).tolist()) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_randomness_of_a_record_depends_on_nothing_else() -> None:
    alone = record_rng(7, Draw(1, 3)).random(5).tolist()
    np.random.default_rng(0).random(100)
    others = [record_rng(seed, Draw(epoch, index)).random(5).tolist() for seed, epoch, index in
              [(8, 1, 3), (7, 0, 3), (7, 1, 4), (7, 3, 1)]]  # fmt: skip
    assert record_rng(7, Draw(1, 3)).random(5).tolist() == alone
    assert alone not in others


def test_frozen_numbers() -> None:
    """A run of an older version goes on as it began only while these stand: numpy's streams and ours."""
    assert permutation(7, 0, 10).tolist() == [8, 0, 7, 1, 3, 6, 2, 4, 5, 9]
    assert Order(7, 10, 4).step(2) == [Draw(0, 5), Draw(0, 9), Draw(1, 8), Draw(1, 2)]
    assert record_rng(7, Draw(1, 3)).random(2).tolist() == [0.5174929828448278, 0.9695357154629081]
    assert record_rng(7, Draw(1, 3)).integers(0, 1000, 4).tolist() == [228, 517, 217, 969]
    assert model_seed(7, 3, 1) == 574111201323842040
    assert model_seed(7, 3, 1, rank=1) == 7541626780075675189
