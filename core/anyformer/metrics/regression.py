"""Measures of numbers: `SquaredError`, `R2`, `Pearson`, `Spearman`, and `OneNumber`, which is all of them.

* A true value that is NaN or None is missing and does not count. An answer that is NaN counts, and makes the score NaN.
* A correlation needs two rows and some variance on both sides; without, it is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anyformer.metrics.base import Getter, OfSums, Weighted, getter, ratio
from anyformer.task import Array


class SquaredError(OfSums):
    """Mean squared and mean absolute error over all values that are not missing, and the root of the first."""

    names = ("mse", "mae", "rmse")
    higher_is_better = False

    def __init__(self, predicted: Getter = "values", true: Getter | None = None) -> None:
        self.predicted, self.true = getter(predicted), getter(true or predicted)

    def row(self, output: Any, target: Any) -> Sequence[float]:
        """Sums of squared and of absolute errors, and how many. Raises `ValueError` for unequal shapes."""
        predicted = np.asarray(self.predicted(output), dtype=np.float64)
        true = np.asarray(self.true(target), dtype=np.float64)
        if predicted.shape != true.shape:
            raise ValueError(f"values {list(predicted.shape)} answered for {list(true.shape)}; the shapes must agree")
        error = (predicted - true)[~np.isnan(true)]
        return (float(error @ error), float(np.abs(error).sum()), float(len(error)))

    def of_sums(self, sums: Array) -> dict[str, Array]:
        """Sums over how many."""
        squared, absolute = ratio(sums[:, 0], sums[:, 2]), ratio(sums[:, 1], sums[:, 2])
        return {"mse": squared, "mae": absolute, "rmse": np.sqrt(squared)}


class _OfPairs(Weighted):
    """A measure of one true and one answered number a record."""

    def __init__(self, predicted: Getter = "value", true: Getter | None = None) -> None:
        self.predicted, self.true = getter(predicted), getter(true or predicted)

    def row(self, output: Any, target: Any) -> Sequence[float]:
        """The true number, NaN if it is missing, and the answered one."""
        true, predicted = self.true(target), self.predicted(output)
        return (np.nan if true is None else float(true), np.nan if predicted is None else float(predicted))

    def of_pairs(self, true: Array, predicted: Array, counts: Array) -> Array:
        """The score [R] of numbers [N], none of the true ones missing, counted [R, N] times."""
        raise NotImplementedError

    def weighted(self, rows: Array, counts: Array) -> dict[str, Array]:
        """Scores [R] from rows [N, 2] and counts [R, N]."""
        known = ~np.isnan(rows[:, 0])
        if not known.all():
            rows, counts = rows[known], counts[:, known]
        if len(rows) < 2 or np.isnan(rows[:, 1]).any():
            return {self.names[0]: np.full(len(counts), np.nan)}
        return {self.names[0]: self.of_pairs(rows[:, 0].astype(np.float64), rows[:, 1].astype(np.float64), counts)}


class R2(_OfPairs):
    """Share of the variance explained: 1 - squared error / squared error of the mean. NaN if the truth never varies."""

    names = ("r2",)

    def of_pairs(self, true: Array, predicted: Array, counts: Array) -> Array:
        """The truth is centred before its squares are summed: prices near 50,000 would lose half their digits."""
        centred = true - true.mean()
        sums = counts @ np.stack([np.ones_like(true), centred, centred**2, (true - predicted) ** 2], axis=1)
        return 1 - ratio(sums[:, 3], _spread(sums[:, 2], sums[:, 1], sums[:, 0]))


class Pearson(_OfPairs):
    """Linear correlation."""

    names = ("pearson",)

    def of_pairs(self, true: Array, predicted: Array, counts: Array) -> Array:
        """Covariance over the root of the product of the variances, both sides brought to mean 0 and deviation 1 first."""
        x, y = _standard(true), _standard(predicted)
        sums = counts @ np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
        covariance = sums[:, 5] - sums[:, 1] * sums[:, 2] / sums[:, 0]
        return _correlation(
            covariance, _spread(sums[:, 3], sums[:, 1], sums[:, 0]), _spread(sums[:, 4], sums[:, 2], sums[:, 0])
        )


class Spearman(_OfPairs):
    """Correlation of the ranks; equal numbers share the mean of their ranks."""

    names = ("spearman",)

    def of_pairs(self, true: Array, predicted: Array, counts: Array) -> Array:
        """Each side is sorted once; how often a number counts says how far the ranks after it move."""
        middle = (counts.sum(axis=1, keepdims=True) + 1) / 2
        x, y = _ranks(true, counts) - middle, _ranks(predicted, counts) - middle
        weighted_x = counts * x
        covariance = (weighted_x * y).sum(axis=1)
        return _correlation(covariance, (weighted_x * x).sum(axis=1), (counts * y * y).sum(axis=1))


class OneNumber(_OfPairs):
    """All measures of one true and one answered number a record, from one row of 16 bytes; the first one decides."""

    names = ("spearman", "pearson", "r2", "rmse", "mae")

    def weighted(self, rows: Array, counts: Array) -> dict[str, Array]:
        """Scores [R] from rows [N, 2] and counts [R, N]."""
        found: dict[str, Array] = {}
        for kind in (Spearman, Pearson, R2):
            found |= kind().weighted(rows, counts)
        known = ~np.isnan(rows[:, 0])
        error = rows[known, 1] - rows[known, 0]
        sums = counts[:, known] @ np.stack([error**2, np.abs(error), np.ones_like(error)], axis=1)
        errors = SquaredError().of_sums(sums)
        return {**found, "rmse": errors["rmse"], "mae": errors["mae"]}


def _ranks(values: Array, counts: Array) -> Array:
    """Mean ranks [R, N] of numbers [N] that count [R, N] times."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    totals = np.take(counts, np.argsort(group, kind="stable"), axis=1)
    if len(sizes) < len(values):
        totals = np.add.reduceat(totals, np.cumsum(sizes) - sizes, axis=1)
    return np.take(np.cumsum(totals, axis=1) - (totals - 1) / 2, group, axis=1)


def _standard(values: Array) -> Array:
    deviation = values.std()
    return (values - values.mean()) / (deviation if deviation > 0 else 1.0)


def _spread(squares: Array, total: Array, count: Array) -> Array:
    """Sum of squared distances from the mean, exactly zero where rounding left only noise."""
    spread = squares - total**2 / count
    return np.where(spread > 1e-12 * squares, spread, 0.0)


def _correlation(covariance: Array, spread: Array, other: Array) -> Array:
    return np.clip(ratio(covariance, np.sqrt(spread * other)), -1.0, 1.0)
