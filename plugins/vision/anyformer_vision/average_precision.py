"""Average precision of detections, as COCO counts it (Lin et al. 2014): equal to pycocotools.

* A detection is right if it overlaps a true box of its label by an IoU of at least t; each true box counts once, and the
  surest detection comes first. AP is the mean precision at 101 recalls, over t = 0.5, 0.55 .. 0.95, over labels.
* What is neither right nor wrong is ignored: a detection inside a crowd, and where scores are by size, a true box of
  another size and an unmatched detection of another size.
* At most 100 detections an image and label count. A label without a true box has no precision.
* AP is no ratio of sums: it orders the detections of all records. So `row` is only the place of a record in what this
  object keeps, 48 bytes a detection and 40 a true label: 5 KB a record at most for a model of 100 detections. Rows mean
  something only to the object that made them.

Axis legend: N records, R draws, D detections, G true boxes, S sizes, X thresholds of IoU, K labels, P true positives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anyformer.metrics.base import Weighted, ratio
from anyformer.task import Array
from anyformer_vision.boxes import Boxes, Detections
from anyformer_vision.judging import MAX_DETECTIONS, SIZES, THRESHOLDS, Judged, judge

RECALLS = np.linspace(0, 1, 101)
"""Where precision is read."""
AT_MOST = (1, 10, MAX_DETECTIONS)
"""Detections an image and label may have, for each average recall."""


class AveragePrecision(Weighted):
    """AP, AP at IoU 0.5 and 0.75, AP of small, medium and large objects, and recall by 1, 10 and 100 detections."""

    names = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar100")

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = list(labels)
        self.index = {label: place for place, label in enumerate(self.labels)}
        self._kept: list[Judged] = []

    def row(self, output: Detections, target: Boxes) -> Sequence[float]:
        """The place of the record in what is kept. Raises `ValueError` for a label that is not known."""
        self._kept.append(judge(output.boxes, target.boxes, self.index))
        return (float(len(self._kept) - 1),)

    def weighted(self, rows: Array, counts: Array) -> dict[str, Array]:
        """Scores [R] from rows [N, 1] and counts [R, N]; NaN where no label has a true box of the size."""
        kept = [self._kept[int(place)] for place in rows[:, 0]]
        precisions, recalls = [], []
        for label in _by_label(kept):
            truth = counts @ label.truth_NS
            precisions.append(_precisions(label, counts, truth))
            recalls.append(_recalls(label, counts, truth[:, 0]))
        missing = np.full(len(counts), np.nan)
        if not precisions:
            return dict.fromkeys(self.names, missing)
        ap_RSX = _mean(np.stack(precisions))
        recall_RM = _mean(np.stack(recalls))
        found = [ap_RSX[:, 0].mean(axis=1)]
        found += [ap_RSX[:, 0, int(np.argmin(np.abs(THRESHOLDS - t)))] for t in (0.5, 0.75)]
        found += [ap_RSX[:, size].mean(axis=1) for size in range(1, len(SIZES))]
        found += list(recall_RM.T)
        return dict(zip(self.names, found, strict=True))


@dataclass
class _Label:
    """All records' detections of one label, the surest first, and its true boxes."""

    record_D: Array
    rank_D: Array
    """How many surer ones its record has."""
    right_DSX: Array
    wrong_DSX: Array
    truth_NS: Array
    """How many true boxes of each size each record has."""


def _by_label(kept: Sequence[Judged]) -> list[_Label]:
    """Labels that occur in the truth, each with its detections; equal scores in order of the records."""
    record_D = np.repeat(np.arange(len(kept)), [len(one.score_D) for one in kept])
    label_D, rank_D, score_D = (
        np.concatenate([getattr(one, name) for one in kept]) for name in ("label_D", "rank_D", "score_D")
    )
    states_DS = np.concatenate([one.states_DS for one in kept])
    record_K = np.repeat(np.arange(len(kept)), [len(one.true_label_K) for one in kept])
    true_label_K, truth_KS = (
        np.concatenate([getattr(one, name) for one in kept]) for name in ("true_label_K", "truth_KS")
    )
    order = np.lexsort((-score_D, label_D))  # stable: detections lie in order of their records
    labels, bits = np.unique(true_label_K), 1 << np.arange(len(THRESHOLDS))
    first, last = (np.searchsorted(label_D[order], labels, side) for side in ("left", "right"))
    found = []
    for label, begin, end in zip(labels, first, last, strict=True):
        chosen, true = order[begin:end], true_label_K == label
        truth_NS = np.zeros((len(kept), len(SIZES)))
        truth_NS[record_K[true]] = truth_KS[true]
        states = states_DS[chosen].astype(np.int64)[..., None]
        right, wrong = (states & bits) > 0, (states >> len(bits) & bits) > 0
        found.append(_Label(record_D[chosen], rank_D[chosen], right, wrong, truth_NS))
    return found


def _precisions(label: _Label, counts: Array, truth_RS: Array) -> Array:
    """Mean precision over the recalls [R, S, X]; NaN where there is no true box."""
    found = np.full((len(counts), len(SIZES), len(THRESHOLDS)), np.nan)
    counts_RD = counts[:, label.record_D]
    for size in range(len(SIZES)):
        some = truth_RS[:, size] > 0
        if not some.any():
            continue
        drawn_RD = counts_RD if some.all() else counts_RD[some]
        right_DX, wrong_DX = label.right_DSX[:, size], label.wrong_DSX[:, size]
        # Few detections are wrong at one threshold and ignored at another, so one long sum serves all thresholds.
        wrong_D = np.asarray(wrong_DX.any(axis=1))
        wrongs = _Sums(drawn_RD, wrong_D)
        for threshold in range(len(THRESHOLDS)):
            at = np.flatnonzero(right_DX[:, threshold])
            excess = _Sums(drawn_RD, wrong_D & ~wrong_DX[:, threshold])
            rights = np.cumsum(drawn_RD[:, at], axis=1)
            found[some, size, threshold] = _area(rights, wrongs.before(at) - excess.before(at), truth_RS[some, size])
    return found


class _Sums:
    """Running sums of some of the columns [R, D]."""

    def __init__(self, counts_RD: Array, chosen_D: Array) -> None:
        self.columns = np.flatnonzero(chosen_D)
        self.sums = np.zeros((len(counts_RD), len(self.columns) + 1))
        np.cumsum(counts_RD[:, self.columns], axis=1, out=self.sums[:, 1:])

    def before(self, places: Array) -> Array:
        """The sums of the chosen columns before each place, [R, P]."""
        return self.sums[:, np.searchsorted(self.columns, places)]


def _area(rights: Array, wrongs: Array, truth: Array) -> Array:
    """Mean over the recalls of the best precision at that recall or beyond, [R], from sums [R, P] at each true positive.

    Between true positives precision only falls, so nothing else has to be looked at.
    """
    if not rights.shape[1]:
        return np.zeros(len(truth))
    precision = rights / (rights + wrongs + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    passed = np.searchsorted(RECALLS, rights / truth[:, None], side="right")
    passed *= rights > 0
    return (best * np.diff(passed, axis=1, prepend=0)).sum(axis=1) / len(RECALLS)


def _recalls(label: _Label, counts: Array, truth: Array) -> Array:
    """Recall over all thresholds [R, M] for each of `AT_MOST`; NaN where there is no true box."""
    found = []
    for most in AT_MOST:
        right_D = label.right_DSX[:, 0].sum(axis=1) * (label.rank_D < most)
        per_record = np.bincount(label.record_D, weights=right_D, minlength=counts.shape[1])
        found.append(ratio(counts @ per_record, truth) / len(THRESHOLDS))
    return np.stack(found, axis=1)


def _mean(scores: Array) -> Array:
    """Mean over the first axis of what is not NaN; NaN where nothing is left."""
    known = ~np.isnan(scores)
    return ratio(np.where(known, scores, 0.0).sum(axis=0), known.sum(axis=0))
