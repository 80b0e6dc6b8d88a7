"""Measures of several labels a record: `LabelRanking` of their scores, `MultiLabelF1` of the labels themselves.

* A label that is not known of a record counts for nothing there.
* `LabelRanking` keeps 4 bytes a label of each record: sixteen labels fit 64 bytes, and more cost more, because areas under
  curves need every score. Scores are compared as float32.
* `MultiLabelF1` keeps two bits a label: 16 bytes a record for up to 48 labels.

An average over labels is that of those where the measure is defined, as MoleculeNet reports it (Wu et al. 2018,
https://doi.org/10.1039/C7SC02664A).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from anyformer.hints import listed, quoted
from anyformer.metrics.base import Getter, Weighted, getter, ratio
from anyformer.task import Array

BITS = 48
"""Labels in one float64 of a row of `MultiLabelF1`, which is exact up to 2**53."""


class _OfLabelSets(Weighted):
    """A measure of records that have several of `labels`, or none."""

    def __init__(
        self, labels: Sequence[str], predicted: Getter, true: Getter = "labels", unknown: Getter | None = "unknown"
    ) -> None:
        """`true` finds in a Target the labels that apply, `unknown` those of which that is not known; None: all are."""
        self.labels = list(labels)
        self.index = {label: index for index, label in enumerate(self.labels)}
        self.predicted, self.true = getter(predicted), getter(true)
        self.unknown = getter(unknown) if unknown else lambda target: ()

    def _marked(self, names: Collection[str]) -> Array:
        """Which labels are named, bool [C]. Raises `ValueError` for a label that is not in the list."""
        marked = np.zeros(len(self.labels), dtype=bool)
        for name in names:
            if name not in self.index:
                raise ValueError(
                    f"the label {quoted(name)} is not one of the {len(self.labels)} known: {listed(self.labels)}"
                )
            marked[self.index[name]] = True
        return marked


class LabelRanking(_OfLabelSets):
    """How well scores put the records of a label before the others: means over the labels of two areas.

    `macro_roc_auc` is the area under the receiver operating characteristic, `mean_average_precision` the average precision.
    """

    names = ("macro_roc_auc", "mean_average_precision")
    dtype = "float32"

    def __init__(
        self, labels: Sequence[str], predicted: Getter = "scores", true: Getter = "labels",
        unknown: Getter | None = "unknown",
    ) -> None:  # fmt: skip
        """`predicted` finds in an Output a mapping from label to score, from 0 up."""
        super().__init__(labels, predicted, true, unknown)

    def row(self, output: Any, target: Any) -> Sequence[float]:
        """The score of each label, its sign telling whether the label applies; infinite where that is not known."""
        scores = self.predicted(output)
        if lacking := [label for label in self.labels if label not in scores]:
            raise ValueError(f"the answer has no score for {quoted(lacking[0])}; it must have one for each label")
        found = np.array([scores[label] for label in self.labels], dtype=np.float64)
        signed = np.copysign(found, np.where(self._marked(self.true(target)), 1.0, -1.0))
        signed[self._marked(self.unknown(target))] = np.inf
        return [float(number) for number in signed]

    def weighted(self, rows: Array, counts: Array) -> dict[str, Array]:
        """Scores [R] from rows [N, C] and counts [R, N]."""
        areas = np.array([_areas(column, counts) for column in rows.T])  # [C, 2, R]
        return {name: _mean(areas[:, place]) for place, name in enumerate(self.names)}


def _areas(signed: Array, counts: Array) -> tuple[Array, Array]:
    """Area under the ROC curve, and average precision, both [R]: NaN where a label has no record on one of its sides."""
    known = ~np.isinf(signed)
    scores, applies, counts = np.abs(signed[known]), ~np.signbit(signed[known]), counts[:, known]
    undefined = np.full(len(counts), np.nan)
    if not len(scores) or np.isnan(scores).any():
        return undefined, undefined
    order = np.argsort(-scores, kind="stable")
    sorted_scores = scores[order]
    begins = np.flatnonzero(np.append(True, sorted_scores[1:] != sorted_scores[:-1]))
    # Records of one score form one step of the curves: [R, steps].
    yes, no = (np.add.reduceat(counts[:, order] * side[order], begins, axis=1) for side in (applies, ~applies))
    above_yes, above_no = np.cumsum(yes, axis=1), np.cumsum(no, axis=1)
    all_yes, all_no = above_yes[:, -1], above_no[:, -1]
    area = ratio((no * (above_yes - yes / 2)).sum(axis=1), all_yes * all_no)
    shown = above_yes + above_no
    precision = np.divide(above_yes, shown, out=np.zeros_like(shown), where=shown > 0)
    return area, ratio((yes * precision).sum(axis=1), all_yes)


def _mean(values: Array) -> Array:
    """Mean [R] of values [C, R] over those that are defined; NaN where none is."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=0), defined.sum(axis=0))


class MultiLabelF1(_OfLabelSets):
    """F1 of the labels answered: of all together (`micro_f1`), and the mean over those that occur (`macro_f1`)."""

    names = ("micro_f1", "macro_f1")

    def __init__(
        self, labels: Sequence[str], predicted: Getter = "labels", true: Getter = "labels",
        unknown: Getter | None = "unknown",
    ) -> None:  # fmt: skip
        """`predicted` finds in an Output the labels that are said to apply."""
        super().__init__(labels, predicted, true, unknown)

    def row(self, output: Any, target: Any) -> Sequence[float]:
        """True labels and answered ones as bits, those not known left out of both."""
        known = ~self._marked(self.unknown(target))
        true, answered = self._marked(self.true(target)), self._marked(self.predicted(output))
        return [*_packed(true & known), *_packed(answered & known)]

    def weighted(self, rows: Array, counts: Array) -> dict[str, Array]:
        """Scores [R] from rows [N, 2 K] and counts [R, N]."""
        true, answered = (_unpacked(half, len(self.labels)) for half in np.split(rows, 2, axis=1))
        both = counts @ (true & answered)
        occurs = counts @ true + counts @ answered
        f1 = np.divide(2 * both, occurs, out=np.full_like(occurs, np.nan), where=occurs > 0)
        return {"micro_f1": ratio(2 * both.sum(axis=1), occurs.sum(axis=1)), "macro_f1": _mean(f1.T)}


def _packed(marked: Array) -> list[float]:
    """Bools [C] as whole numbers of `BITS` bits."""
    places = range(0, len(marked), BITS)
    return [
        float(sum(1 << place for place in np.flatnonzero(marked[start : start + BITS]).tolist())) for start in places
    ]


def _unpacked(numbers: Array, size: int) -> Array:
    """Whole numbers [N, K] to bools [N, C]."""
    bits = numbers.astype(np.int64)[:, :, None] >> np.arange(BITS) & 1
    return bits.reshape(len(numbers), -1)[:, :size].astype(bool)
