"""Intervals cover what they promise, in blocks too; pairs are compared as pairs."""

from __future__ import annotations

import numpy as np
import pytest

from anyformer.metrics import Accuracy, OfSums, bootstrap
from anyformer.task import Metric


@pytest.fixture
def rng():
    return np.random.default_rng(0)


class Plain(Metric):
    """A metric that knows nothing of counts."""

    names = ("mean", "median")

    def scores(self, rows):
        return {"mean": float(rows.mean()), "median": float(np.median(rows))}


class Mean(OfSums):
    names = ("mean",)

    def of_sums(self, sums):
        return {"mean": sums[:, 0] / sums[:, 1]}


def test_fast_and_plain_metrics_have_the_same_intervals(rng):
    rows = rng.normal(size=(50, 1))
    plain = bootstrap.interval(Plain(), rows, seed=3, draws=200)
    fast = bootstrap.interval(Mean(), np.hstack([rows, np.ones_like(rows)]), seed=3, draws=200)
    assert fast["mean"] == pytest.approx(plain["mean"], rel=1e-12)
    assert plain["median"][0] < np.median(rows) < plain["median"][1]
    assert bootstrap.interval(Plain(), rows, seed=4, draws=200) != plain


def coverage(series, block, trials=120):
    """Share of intervals for the mean that hold the true mean, zero."""
    hits = 0
    for trial in range(trials):
        rows = series(np.random.default_rng(trial))[:, None]
        low, high = bootstrap.interval(
            Mean(), np.hstack([rows, np.ones_like(rows)]), seed=trial, draws=200, block=block
        )["mean"]
        hits += low <= 0 <= high
    return hits / trials


def test_intervals_cover_the_truth():
    assert 0.90 <= coverage(lambda rng: rng.normal(size=100), 1) <= 0.99


def test_blocks_cover_the_truth_where_neighbours_are_alike():
    def moving_average(rng):
        return np.convolve(rng.normal(size=419), np.ones(20), mode="valid")

    assert coverage(moving_average, 1) < 0.6
    assert coverage(moving_average, 40) > 0.8


def test_blocks_are_runs_of_records(rng):
    for size, block in [(10, 3), (7, 7), (1, 5), (12, 4)]:
        for counts in bootstrap._counts(size, 50, block, rng):
            assert (counts.sum(axis=1) == size).all()
            assert counts.min() >= 0
    runs = next(bootstrap._counts(1000, 1, 100, rng))[0]
    assert np.count_nonzero(np.diff(runs)) <= 2 * 10


def test_paired_difference_sees_what_separate_intervals_do_not(rng):
    hard = rng.random(300) < 0.5
    ours = np.stack([~hard | (rng.random(300) < 0.1), np.ones(300)], axis=1).astype(float)
    theirs = np.stack([~hard, np.ones(300)], axis=1).astype(float)
    one, other = (bootstrap.interval(Accuracy(), rows, seed=0)["accuracy"] for rows in (ours, theirs))
    assert one[0] < other[1]
    low, high = bootstrap.difference(Accuracy(), ours, theirs, seed=0)
    assert 0 < low < ours[:, 0].mean() - theirs[:, 0].mean() < high
    assert bootstrap.difference(Accuracy(), ours, ours, seed=0) == (0.0, 0.0)


def test_bootstrap_refuses():
    rows = np.ones((3, 2))
    with pytest.raises(ValueError, match="there are no rows to draw from"):
        bootstrap.interval(Accuracy(), rows[:0], seed=0)
    with pytest.raises(ValueError, match="block and draws must be at least 1; got 0 and 1000"):
        bootstrap.interval(Accuracy(), rows, seed=0, block=0)
    with pytest.raises(ValueError, match="3 and 2 rows cannot be compared record by record"):
        bootstrap.difference(Accuracy(), rows, rows[:2], seed=0)


def test_an_interval_of_nothing_defined_is_nan():
    assert np.isnan(bootstrap.interval(Accuracy(), np.zeros((5, 2)), seed=0)["accuracy"]).all()


@pytest.mark.parametrize("count", [1, 300, 40_000])
@pytest.mark.parametrize("block", [1, 7])
def test_a_store_scores_as_its_rows_do(count: int, block: int) -> None:
    """From sums taken block by block, those in the file and those in memory."""
    rows = np.random.default_rng(count).integers(0, 2, (count, 2)).astype(float)
    rows[:, 1] = 1
    store = bootstrap.RowStore(Accuracy())
    for place, row in enumerate(rows.tolist()):
        store.append(row)
        if place == count // 2:
            next(store.blocks())  # a look does not disturb what comes after
    assert np.array_equal(np.concatenate(list(store.blocks())), rows)
    assert np.array_equal(store.rows, rows)
    assert store.scores() == pytest.approx(Accuracy().scores(rows))
    (found,) = bootstrap.interval(Accuracy(), store, seed=0, draws=20, block=block).values()
    assert found == pytest.approx(bootstrap.interval(Accuracy(), rows, seed=0, draws=20, block=block)["accuracy"])
