"""Scores of forecasts. Each record keeps seven sums, so that a score of any set of records is a ratio of sums.

Axis legend: C series, H steps of the horizon, Q levels.

* `mse` and `mae` are of the median, over all windows, steps and series, in units of each series' deviation over the training
  rows: the numbers of the long-horizon literature (Zhou et al. 2021, Informer). `mse` decides, as it does there. The median
  is the forecast of least absolute, not least squared error: a model cannot gain by hedging, and pays a little on `mse`.
* `wql` and `coverage` judge the whole distribution, in the units of the data (Ansari et al. 2024, Chronos).
* A missing true value is not scored.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anyformer.hints import listed
from anyformer.metrics.base import OfSums, ratio
from anyformer.task import Array
from anyformer_finance.schema import Output, Target


class Errors(OfSums):
    """Mean squared and mean absolute error of the median, in deviations of the training rows.

    Those of a model that was never trained here are in the units of the data.
    """

    names = ("mse", "mae")
    higher_is_better = False

    def __init__(self, deviations: dict[str, float]) -> None:
        self.deviations = deviations

    def row(self, output: Output, target: Target) -> Sequence[float]:
        """Sum of squares, sum of absolutes, count; raises `ValueError` for a series the training data did not have."""
        names, truth_CH = _truth(output, target)
        deviations = self.deviations or dict.fromkeys(names, 1.0)
        unknown = [name for name in names if name not in deviations]
        if unknown:
            raise ValueError(
                f"series {unknown[0]!r} was not in the training data, which had {listed(list(deviations))}"
            )
        scale_C1 = np.array([[deviations[name]] for name in names])
        error_CH = (np.array([output.median[name] for name in names]) - truth_CH) / scale_C1
        known = error_CH[~np.isnan(error_CH)]
        return float(known @ known), float(np.abs(known).sum()), float(known.size)

    def of_sums(self, sums: Array) -> dict[str, Array]:
        """Means from sums [R, 3]."""
        return {"mse": ratio(sums[:, 0], sums[:, 2]), "mae": ratio(sums[:, 1], sums[:, 2])}


class Spread(OfSums):
    """Weighted quantile loss, and how often the truth lies between the lowest and the highest level.

    The loss is twice the pinball loss over the sum of absolute true values, averaged over levels; for a point forecast with
    symmetric levels it is the sum of absolute errors over the same. The lowest and highest of the default levels are 0.1
    and 0.9, so `coverage` should be near 0.8; a point forecast has none.
    """

    names = ("wql", "coverage")
    higher_is_better = False

    def row(self, output: Output, target: Target) -> Sequence[float]:
        """Twice the pinball loss (mean over levels), sum of absolute values, hits, count."""
        names, truth_CH = _truth(output, target)
        guess_CQH = np.array([list(output.quantiles[name].values()) for name in names])
        levels_Q1 = np.array(output.levels)[:, None]
        known_CH = ~np.isnan(truth_CH)
        over_CQH = truth_CH[:, None] - guess_CQH
        loss_CH = 2 * np.maximum(levels_Q1 * over_CQH, (levels_Q1 - 1) * over_CQH).mean(axis=1)
        hits_CH = (over_CQH[:, 0] >= 0) & (over_CQH[:, -1] <= 0)
        size = np.abs(truth_CH[known_CH]).sum()
        return float(loss_CH[known_CH].sum()), float(size), float(hits_CH.sum()), float(known_CH.sum())

    def of_sums(self, sums: Array) -> dict[str, Array]:
        """Ratios from sums [R, 4]."""
        return {"wql": ratio(sums[:, 0], sums[:, 1]), "coverage": ratio(sums[:, 2], sums[:, 3])}


def _truth(output: Output, target: Target) -> tuple[list[str], Array]:
    """Names and true values [C, H]; raises `ValueError` where they do not fit the forecast."""
    for name, values in target.future.items():
        if name not in output.median:
            raise ValueError(
                f"'future' has {name!r}, which was not forecast; 'series' has {listed(list(output.median))}"
            )
        if len(values) != len(output.median[name]):
            raise ValueError(
                f"'future' of {name!r} has {len(values)} values; the horizon is {len(output.median[name])}"
            )
    return list(target.future), np.array(list(target.future.values()))
