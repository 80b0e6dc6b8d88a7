"""What the metrics of the core share: how they find labels, and scores of rows that count more or less often.

* A `Weighted` metric scores many ways of counting the same rows at once, so a bootstrap is a few array operations instead of
  a thousand passes.
* A metric whose score follows from sums of its rows is an `OfSums`: give `row` and `of_sums`, and it is `Weighted`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from anyformer.task import Array, Metric

Getter = str | Callable[[Any], Any]
"""How to take a value from an Output or a Target: the name of a field, or a function."""


def getter(where: Getter) -> Callable[[Any], Any]:
    """The function that takes the value."""
    return where if callable(where) else lambda given: getattr(given, where)


class Weighted(Metric):
    """A metric that can score its rows counted any number of times."""

    def weighted(self, rows: Array, counts: Array) -> dict[str, Array]:
        """Scores [R], by the names in `names`, of rows [N, k] in R ways: row n counts `counts[r, n]` times.

        A score that is not defined is NaN, and nothing warns.
        """
        raise NotImplementedError

    def scores(self, rows: Array) -> dict[str, float]:
        """Scores of rows [N, k], each counted once."""
        found = self.weighted(rows, np.ones((1, len(rows))))
        return {name: float(values[0]) for name, values in found.items()}


class OfSums(Weighted):
    """A metric that follows from the sums of its rows."""

    def of_sums(self, sums: Array) -> dict[str, Array]:
        """Scores [R] from column sums [R, k]."""
        raise NotImplementedError

    def weighted(self, rows: Array, counts: Array) -> dict[str, Array]:
        """Scores [R] from rows [N, k] and counts [R, N]."""
        return self.of_sums(counts @ rows.astype(np.float64, copy=False))


def ratio(above: Array, below: Array) -> Array:
    """`above / below`, NaN where `below` is zero."""
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below != 0)
