"""Which detections of one image are right, as COCO judges (Lin et al. 2014): the first half of average precision.

* Detections of a label take true boxes in order of their scores. Each takes the free true box with the highest IoU, a
  counted one if any reaches the threshold, else an ignored one; of equals the last.
* Ignored are crowds, and true boxes outside the range of sizes. A crowd is never used up, and the overlap with it is
  over the detection alone: a detection inside it overlaps it fully.
* A detection that took an ignored box is ignored, and so is one that took none and lies outside the range of sizes.

Axis legend: D detections, G true boxes, S sizes, X thresholds of IoU, K labels with true boxes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anyformer.task import Array
from anyformer_vision.boxes import Box, Found, areas, corners, iou, overlap

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""Least IoU of a right detection."""
SIZES = np.array([(0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10)])
"""Least and greatest area of all, small, medium and large objects, square pixels."""
MAX_DETECTIONS = 100
"""Detections of one label in one image that are looked at."""


@dataclass
class Judged:
    """One image: what average precision needs of it, and nothing else."""

    label_D: Array
    rank_D: Array
    """How many surer ones of its label the image has."""
    score_D: Array
    states_DS: Array
    """Bit x: right at threshold x; bit X + x: wrong; neither: ignored."""
    true_label_K: Array
    """The labels with true boxes."""
    truth_KS: Array
    """How many counted ones each has, by size."""


def judge(found: Sequence[Found], truth: Sequence[Box], index: Mapping[str, int]) -> Judged:
    """Judge the detections of an image. `index` numbers the labels; raises `ValueError` for one it does not have."""
    label_D = np.array([_number(one.label, index) for one in found], np.int32)
    label_G = np.array([_number(one.label, index) for one in truth], np.int32)
    score_D, box_D4, box_G4 = np.array([one.score for one in found], np.float64), corners(found), corners(truth)
    crowd_G = np.array([one.crowd for one in truth], bool)
    area_G = areas(box_G4)
    for place, one in enumerate(truth):
        area_G[place] = area_G[place] if one.area is None else one.area
    ignored_SG = crowd_G | _outside(area_G)
    parts, kept = [np.zeros((0, len(SIZES)), np.int64)], [np.zeros(0, np.int64)]
    for label in np.unique(label_D):
        detections = np.flatnonzero(label_D == label)
        detections = detections[np.argsort(-score_D[detections], kind="stable")][:MAX_DETECTIONS]
        true = np.flatnonzero(label_G == label)
        overlaps = _overlaps(box_D4[detections], box_G4[true], crowd_G[true])
        parts.append(_states(overlaps, crowd_G[true], ignored_SG[:, true], _outside(areas(box_D4[detections]))))
        kept.append(detections)
    chosen = np.concatenate(kept)
    ranks = np.concatenate([np.arange(len(part), dtype=np.int32) for part in kept])
    labels = np.unique(label_G)
    counted = [(~ignored_SG[:, label_G == label]).sum(axis=1) for label in labels]
    truth_KS = np.array(counted, np.int32).reshape(-1, len(SIZES))
    return Judged(label_D[chosen], ranks, score_D[chosen], np.concatenate(parts), labels, truth_KS)


def _number(label: str, index: Mapping[str, int]) -> int:
    if label not in index:
        from anyformer.hints import did_you_mean, listed

        labels = list(index)
        raise ValueError(f"unknown label {label!r}{did_you_mean(label, labels)}; the labels are {listed(labels)}")
    return index[label]


def _outside(areas: Array) -> Array:
    """Whether each area [D] lies outside of each range of sizes, bool [S, D]."""
    return (areas < SIZES[:, :1]) | (areas > SIZES[:, 1:])


def _overlaps(box_D4: Array, box_G4: Array, crowd_G: Array) -> Array:
    """IoU [D, G]; with a crowd, the part of the detection that lies in it."""
    area_D1 = areas(box_D4)[:, None]
    inside = np.divide(overlap(box_D4, box_G4), area_D1, out=np.zeros((len(box_D4), len(box_G4))), where=area_D1 > 0)
    return np.where(crowd_G, inside, iou(box_D4, box_G4))


def _states(overlap_DG: Array, crowd_G: Array, ignored_SG: Array, outside_SD: Array) -> Array:
    """How each detection of one label fares, the surest first: int64 [D, S] of bits as in `Judged`."""
    free_SXG = np.ones((len(SIZES), len(THRESHOLDS), overlap_DG.shape[1]), bool)
    none_SX = np.zeros(free_SXG.shape[:2], bool)
    bits = 1 << np.arange(len(THRESHOLDS))
    states_DS = np.zeros((len(overlap_DG), len(SIZES)), np.int64)
    for place, overlap_G in enumerate(overlap_DG):
        right_SX, took_SX = none_SX, none_SX
        if overlap_G.max(initial=0.0) >= THRESHOLDS[0]:
            fits_SXG = free_SXG & (overlap_G >= THRESHOLDS[:, None])
            counted_SXG = fits_SXG & ~ignored_SG[:, None]
            right_SX, took_SX = counted_SXG.any(axis=-1), fits_SXG.any(axis=-1)
            value_SXG = np.where(np.where(right_SX[..., None], counted_SXG, fits_SXG), overlap_G, -1.0)
            best_SX = value_SXG.shape[-1] - 1 - value_SXG[..., ::-1].argmax(axis=-1)
            s, x = np.nonzero(took_SX)
            free_SXG[s, x, best_SX[s, x]] = crowd_G[best_SX[s, x]]
        wrong_SX = ~took_SX & ~outside_SD[:, place, None]
        states_DS[place] = right_SX @ bits | wrong_SX @ bits << len(bits)
    return states_DS
