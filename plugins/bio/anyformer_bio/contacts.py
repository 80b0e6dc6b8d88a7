"""Contacts of residues: pairs, their truth from coordinates, the score of the field, and what separation alone says.

* Residues touch if their beta carbons, or the alpha carbon where there is no other, are less than 8 angstrom apart. Pairs
  nearer than 6 residues along the chain touch by being neighbours and are left out everywhere.
* The score is the precision of the L / 5, L / 2 and L most probable pairs of a protein with L residues, averaged over
  proteins; first of pairs 24 residues apart or more, then of those 12 to 23 apart. As in CASP (Shrestha et al. 2019,
  https://doi.org/10.1002/prot.25787).
* The rival knows nothing but the separation of two residues, and how often the training part has contacts there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from anyformer.metrics.base import Weighted, ratio
from anyformer.task import Array

IGNORED = -100
"""The label of a pair that is not known."""
NEAREST = 6
"""Residues between the two of a pair, at least; 7 residues have one pair."""
FURTHEST = 256
"""Greater separations are counted as one."""
TOUCHING = 8.0
"""Angstrom."""
RANGES = {"long_range": (24, None), "medium_range": (12, 24), "short_range": (6, 12)}
"""Separations from, and up to but not including."""


def pairs_of(length: int) -> tuple[Array, Array]:
    """First and second residue of each pair, int64 [P] each, counted from 0."""
    return np.triu_indices(length, NEAREST)


def in_range(separations: Array, name: str) -> Array:
    """Which separations belong to a range, bool."""
    low, high = RANGES[name]
    return (separations >= low) & (separations < (np.inf if high is None else high))


def labels_from_pairs(length: int, contacts: Sequence[tuple[int, int]]) -> Array:
    """1 for each pair that is listed, in either order, and 0 for the others: int64 [P]."""
    touching = np.zeros((length, length), dtype=np.int64)
    if contacts:
        first, second = np.array(contacts, dtype=np.int64).T
        touching[np.minimum(first, second), np.maximum(first, second)] = 1
    return touching[pairs_of(length)]


def labels_from_places(places: Array) -> Array:
    """Whether each pair touches, by the places of its residues in angstrom [L, 3]: int64 [P], `IGNORED` where one is NaN."""
    first, second = pairs_of(len(places))
    squares = np.square(places[first] - places[second]).sum(axis=1)
    return np.where(np.isnan(squares), IGNORED, (squares < TOUCHING**2).astype(np.int64))


class Precision(Weighted):
    """Precision of the most probable pairs, by range; each protein counts once, if it has a known pair in the range.

    Args:
        labels: from an Output and a Target to the labels [P] of all pairs.
    """

    names = tuple(f"{name}_{count}" for name in ("long_range", "medium_range") for count in ("L5", "L2", "L"))

    def __init__(self, labels: Callable[[Any, Any], Array]) -> None:
        self.labels = labels

    def row(self, output: Any, target: Any) -> Sequence[float]:
        """Six precisions, NaN where there is no pair. The Output has `length` and `contacts` (i, j, probability)."""
        true = np.full((output.length,) * 2, IGNORED, dtype=np.int64)
        true[pairs_of(output.length)] = self.labels(output, target)
        found = np.array(output.contacts, dtype=np.float64).reshape(-1, 3)
        first, second = found[:, :2].astype(np.int64).T
        label, probability = true[first, second], found[:, 2]
        row = []
        for name in ("long_range", "medium_range"):
            counted = in_range(second - first, name) & (label != IGNORED)
            order = np.argsort(-probability[counted], kind="stable")
            hits = label[counted][order]
            row += [_mean(hits[: max(1, output.length // part)]) for part in (5, 2, 1)]
        return row

    def weighted(self, rows: Array, counts: Array) -> dict[str, Array]:
        """Means [R] over the proteins that have a precision."""
        known = ~np.isnan(rows)
        sums, numbers = counts @ np.where(known, rows, 0.0), counts @ known.astype(np.float64)
        return dict(zip(self.names, ratio(sums, numbers).T, strict=True))


def count_separations(proteins: Iterable[tuple[int, Array]]) -> tuple[Array, Array]:
    """Contacts and known pairs by separation, int64 [`FURTHEST` + 1] each, from lengths and labels [P]."""
    contacts, known = np.zeros((2, FURTHEST + 1), dtype=np.int64)
    for length, labels in proteins:
        separations = _separations(length)
        contacts += np.bincount(separations[labels == 1], minlength=FURTHEST + 1)
        known += np.bincount(separations[labels != IGNORED], minlength=FURTHEST + 1)
    return contacts, known


def by_separation(length: int, contacts: Array | None = None, known: Array | None = None) -> Array:
    """Probability of each pair [P] by its separation alone; without counts, one over the separation.

    A separation that was seen little leans towards the share of contacts among all pairs, as if that were one more pair.
    """
    separations = _separations(length)
    if contacts is None or known is None:
        return 1.0 / separations
    overall = contacts.sum() / max(1, known.sum())
    return np.asarray(((contacts + overall) / (known + 1))[separations])


def _separations(length: int) -> Array:
    first, second = pairs_of(length)
    return np.minimum(second - first, FURTHEST)


def _mean(hits: Array) -> float:
    return float(hits.mean()) if len(hits) else float("nan")
