"""Pieces of words: which belong to a word, what they say of it together, and windows over more of them than fit.

Axis legend: L pieces, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from anyformer.task import Array

Window = tuple[slice, slice]
"""What a window reads, and the part of it that it answers for."""


def windows(length: int, room: int) -> list[Window]:
    """The fewest windows of at most `room` pieces, evenly placed, that overlap by a quarter of `room` or more.

    Neighbours answer up to the middle of their overlap: together for every piece of `length` exactly once.
    """
    assert room > 0
    if length <= room:
        return [(slice(0, length), slice(0, length))] if length else []
    overlap = room // 4
    count = -(-(length - overlap) // (room - overlap))
    starts = [place * (length - room) // (count - 1) for place in range(count)]
    seams = [0, *((left + room + right) // 2 for left, right in pairwise(starts)), length]
    return [(slice(start, start + room), slice(*own)) for start, own in zip(starts, pairwise(seams), strict=True)]


def pieces_of(spans: Array, words: Sequence[tuple[int, int]]) -> list[slice]:
    """The pieces that touch each word, by the characters [from, to) of both, in order: `spans` is int64 [L, 2].

    A piece may touch two words, and a word of which the tokenizer keeps nothing has no piece: an empty slice.
    """
    where = np.array(words, dtype=np.int64).reshape(-1, 2)
    firsts = np.searchsorted(spans[:, 1], where[:, 0], side="right")
    lasts = np.searchsorted(spans[:, 0], where[:, 1], side="left")
    return [slice(first, max(first, last)) for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)]


def joined(shares_LC: Array, how: Literal["first", "mean", "max"]) -> Array:
    """Probabilities [C] of a word from those of its pieces [L, C], one or more."""
    if how == "first":
        return np.asarray(shares_LC[0])
    if how == "mean":
        return np.asarray(shares_LC.mean(axis=0))
    return np.asarray(shares_LC[shares_LC.max(axis=1).argmax()])
