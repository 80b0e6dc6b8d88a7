"""Measures of labels: `Accuracy`, `ExactMatch`, `TokenAccuracy`, `MacroF1`, `Matthews`.

* Each takes a field name, or a function, for where the label stands in an Output, and in a Target if it differs there.
* `MacroF1` and `Matthews` need three counts a label, so a thousand labels cost what ten do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anyformer.hints import listed, quoted
from anyformer.metrics.base import Getter, OfSums, Weighted, getter, ratio
from anyformer.task import Array


class Accuracy(OfSums):
    """Share of records whose label is right."""

    names = ("accuracy",)
    dtype = "float32"

    def __init__(self, predicted: Getter = "label", true: Getter | None = None) -> None:
        self.predicted, self.true = getter(predicted), getter(true or predicted)

    def row(self, output: Any, target: Any) -> Sequence[float]:
        """1 if it is right, and 1."""
        return (float(self.predicted(output) == self.true(target)), 1.0)

    def of_sums(self, sums: Array) -> dict[str, Array]:
        """Right labels over labels."""
        return {self.names[0]: ratio(sums[:, 0], sums[:, 1])}


class ExactMatch(Accuracy):
    """Share of records whose whole answer is right, for answers that are sequences: the label is the sequence."""

    names = ("exact_match",)


class TokenAccuracy(OfSums):
    """Share of tokens whose label is right, over all records: a long record weighs more.

    Labels are sequences, a string being one of letters. `mask` finds in the Target which tokens count: true values, or a
    string in which "1" counts; where it finds None, all do.
    """

    names = ("accuracy",)
    dtype = "float32"

    def __init__(self, predicted: Getter = "labels", mask: Getter | None = None, *, true: Getter | None = None) -> None:
        self.predicted, self.true = getter(predicted), getter(true or predicted)
        self.mask = getter(mask) if mask else lambda target: None

    def row(self, output: Any, target: Any) -> Sequence[float]:
        """Right labels and counted labels. Raises `ValueError` for unequal lengths."""
        predicted, true, mask = self.predicted(output), self.true(target), self.mask(target)
        if len(predicted) != len(true) or (mask is not None and len(mask) != len(true)):
            masked = "" if mask is None else f" and a mask of {len(mask)}"
            raise ValueError(
                f"{len(predicted)} labels answered for {len(true)}{masked}; there must be one for each token"
            )
        right = np.fromiter((a == b for a, b in zip(predicted, true, strict=True)), bool, len(true))
        counted = _counted(mask, len(true))
        return (float(np.count_nonzero(right & counted)), float(np.count_nonzero(counted)))

    def of_sums(self, sums: Array) -> dict[str, Array]:
        """Right labels over counted labels."""
        return {self.names[0]: ratio(sums[:, 0], sums[:, 1])}


def _counted(mask: Any, size: int) -> Array:
    """Which tokens count, bool [L]."""
    if mask is None:
        return np.ones(size, dtype=bool)
    return np.array([item == "1" for item in mask] if isinstance(mask, str) else mask, dtype=bool)


class _OfLabels(Weighted):
    """A measure of the labels' counts: how often each is true, answered, and both."""

    dtype = "float32"  # Indices of labels are exact up to 2**24.

    def __init__(self, labels: Sequence[Any], predicted: Getter = "label", true: Getter | None = None) -> None:
        self.labels = list(labels)
        self.index = {label: index for index, label in enumerate(self.labels)}
        self.predicted, self.true = getter(predicted), getter(true or predicted)

    def row(self, output: Any, target: Any) -> Sequence[float]:
        """Index of the true label, index of the answered one. Raises `ValueError` for a label that is not in the list."""
        return (self._place(self.true(target)), self._place(self.predicted(output)))

    def _place(self, label: Any) -> float:
        if label not in self.index:
            raise ValueError(
                f"the label {quoted(label)} is not one of the {len(self.labels)} known: {listed(self.labels)}"
            )
        return float(self.index[label])

    def of_counts(self, true: Array, answered: Array, both: Array) -> Array:
        """The score [R] from counts [R, labels]."""
        raise NotImplementedError

    def weighted(self, rows: Array, counts: Array) -> dict[str, Array]:
        """Scores [R] from rows [N, 2] and counts [R, N]."""
        true, answered = rows.astype(np.int64).T
        size, right = len(self.labels), true == answered
        tallies = [
            np.stack([np.bincount(ids, weights=weights, minlength=size) for weights in chosen])
            for ids, chosen in ((true, counts), (answered, counts), (true[right], counts[:, right]))
        ]
        return {self.names[0]: self.of_counts(*tallies)}


class MacroF1(_OfLabels):
    """Mean of the labels' F1, over the labels that occur in truth or answers."""

    names = ("macro_f1",)

    def of_counts(self, true: Array, answered: Array, both: Array) -> Array:
        """F1 is twice what agrees, over all that is true and all that is answered."""
        occurs = true + answered
        f1 = np.divide(2 * both, occurs, out=np.zeros_like(occurs), where=occurs > 0)
        return ratio(f1.sum(axis=1), np.count_nonzero(occurs, axis=1))


class Matthews(_OfLabels):
    """Correlation of true and answered labels, for any number of labels (Gorodkin 2004); 0 where either never varies."""

    names = ("matthews",)

    def of_counts(self, true: Array, answered: Array, both: Array) -> Array:
        """Covariance of the indicators over the root of the product of their variances."""
        total = true.sum(axis=1)
        covariance = both.sum(axis=1) * total - (true * answered).sum(axis=1)
        variances = (total**2 - (true**2).sum(axis=1)) * (total**2 - (answered**2).sum(axis=1))
        return np.divide(covariance, np.sqrt(variances), out=np.zeros_like(total), where=variances > 0)
