"""The simple rivals of a protein's vector: the mean of all values, and a ridge regression on the amino-acid composition.

* The features are the share of each residue and the logarithm of the length, each brought to mean 0 and deviation 1. Only
  their sums and products are kept, so the training part may be larger than memory.
* The penalty is one record's weight, as in a Bayesian regression with unit prior and unit noise; there is nothing to tune.

Hoerl and Kennard 1970, https://doi.org/10.1080/00401706.1970.10488634.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from anyformer.task import Array
from anyformer_bio.tokenizers import PROTEIN

PENALTY = 1.0


def composition(sequence: str) -> Array:
    """Share of each residue, float64 [25], in the order of `PROTEIN.letters`."""
    ids = PROTEIN.ids(sequence)
    return np.bincount(ids, minlength=len(PROTEIN.letters)) / len(ids)


def products(pairs: Iterable[tuple[str, float]]) -> Array:
    """Sums of the products of all columns (1, features, value) over proteins and their values, float64 [28, 28]."""
    found = np.zeros((len(PROTEIN.letters) + 3,) * 2)
    for sequence, value in pairs:
        row = np.concatenate([[1.0], _features(sequence), [value]])
        found += np.outer(row, row)
    return found


def mean_and_deviation(sums: Array) -> tuple[float, float]:
    """Of the values, from what `products` gives; a deviation of 0 becomes 1."""
    mean = sums[0, -1] / sums[0, 0]
    deviation = _deviations(sums)[-1]
    return float(mean), float(deviation)


def ridge(sums: Array) -> Array:
    """Weights [27] of (1, features), from what `products` gives."""
    count, means, deviations = sums[0, 0], sums[0, 1:] / sums[0, 0], _deviations(sums)
    centred = (sums[1:, 1:] - count * np.outer(means, means)) / np.outer(deviations, deviations)
    scaled = np.linalg.solve(centred[:-1, :-1] + PENALTY * np.eye(len(centred) - 1), centred[:-1, -1])
    slopes = scaled * deviations[-1] / deviations[:-1]
    return np.concatenate([[means[-1] - slopes @ means[:-1]], slopes])


def predict(sequence: str, weights: Array) -> float:
    """The value of a protein, by weights [27]."""
    return float(weights[0] + _features(sequence) @ weights[1:])


def _features(sequence: str) -> Array:
    return np.append(composition(sequence), np.log(len(sequence)))


def _deviations(sums: Array) -> Array:
    """Of the features and the value [27]; 1 where a column never varies, rounding aside."""
    means, squares = sums[0, 1:] / sums[0, 0], sums.diagonal()[1:] / sums[0, 0]
    variances = squares - means**2
    return np.sqrt(np.where(variances > 1e-12 * squares, variances, 1.0))
