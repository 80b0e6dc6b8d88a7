"""What trivial methods of several domains share: how numbers spread, and a ridge regression on sparse yes-or-no features.

This module imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from anyformer.task import Array

TOLERANCE = 1e-8
"""How small the residual of the normal equations gets, relative to where it began."""
MAX_STEPS = 1000
"""Of the conjugate gradients: enough for that, or what is left is of no weight to a baseline."""


def mean_and_deviation(values: Iterable[float]) -> tuple[float, float]:
    """Of numbers in one pass (Welford 1962); a deviation of 0 becomes 1, and no numbers have mean 0."""
    count, mean, squares = 0, 0.0, 0.0
    for count, value in enumerate(values, 1):
        step = value - mean
        mean += step / count
        squares += step * (value - mean)
    deviation = math.sqrt(squares / count) if count else 0.0
    # What rounding leaves of equal numbers is no deviation.
    return mean, deviation if deviation > 1e-12 * abs(mean) else 1.0


def ridge(features: Sequence[Array], values: Array, size: int, penalty: float = 1.0) -> tuple[float, Array]:
    """Intercept and weights [size] that predict values [N] from which of `size` features each record has.

    `features` are int64 indices, one array a record, none twice; `penalty` multiplies the squared weights and spares the
    intercept (Hoerl and Kennard 1970, https://doi.org/10.1080/00401706.1970.10488634). Solved by conjugate gradients
    (Hestenes and Stiefel 1952, https://doi.org/10.6028/jres.049.044), so that memory is that of the indices.
    """
    columns = np.concatenate(features) if len(features) else np.zeros(0, dtype=np.int64)
    rows = np.repeat(np.arange(len(features)), [len(each) for each in features])

    def sums(weights: Array) -> Array:
        """Of the weights of each record's features, [N], less their mean."""
        found = np.bincount(rows, weights[columns], len(features))
        return found - found.mean()

    def gathered(misses: Array) -> Array:
        """What each feature's records sum to, [size]."""
        return np.bincount(columns, misses[rows], size)

    mean = float(values.mean())
    weights = np.zeros(size)
    residual = gathered(values - mean)
    direction, square = residual, residual @ residual
    enough = square * TOLERANCE**2
    for _ in range(min(10 * size, MAX_STEPS)):
        if square <= enough:
            break
        image = gathered(sums(direction)) + penalty * direction
        step = square / (direction @ image)
        weights = weights + step * direction
        residual = residual - step * image
        square, before = residual @ residual, square
        direction = residual + square / before * direction
    return mean - float(np.bincount(rows, weights[columns], len(features)).mean()), weights
