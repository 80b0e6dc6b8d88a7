"""Windows over a sequence longer than the model's context, and the stitch that undoes them.

* Every position is read with as much context as there is: neighbouring windows overlap, and each answers up to the middle
  of the overlap.
* Every position is answered for exactly once, in training too, so that a long sequence weighs no more than its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from anyformer.task import Array


@dataclass(frozen=True)
class Window:
    """A window reads positions `start` to `stop` and answers for `first` to `last`; ends are exclusive."""

    start: int
    stop: int
    first: int
    last: int


def windows(length: int, context: int, overlap: int) -> list[Window]:
    """The fewest windows of at most `context` positions, evenly placed, that share `overlap` positions or more.

    Together they answer for every position of `length` exactly once.
    """
    assert 0 <= overlap < context
    assert length > 0
    if length <= context:
        return [Window(0, length, 0, length)]
    count = -(-(length - overlap) // (context - overlap))
    starts = [index * (length - context) // (count - 1) for index in range(count)]
    seams = [(left + context + right) // 2 for left, right in pairwise(starts)]
    return [
        Window(start, start + context, first, last)
        for start, first, last in zip(starts, [0, *seams], [*seams, length], strict=True)
    ]


def inside(window: Window, values: Array, ignored: int) -> Array:
    """Values [L] of the whole sequence as the window sees them [stop - start]: `ignored` where another window answers."""
    seen = np.full(window.stop - window.start, ignored, dtype=values.dtype)
    seen[window.first - window.start : window.last - window.start] = values[window.first : window.last]
    return seen


def stitch(spans: Sequence[Window], pieces: Sequence[Array]) -> Array:
    """What each window says of its positions [stop - start, ...], joined to the whole sequence [L, ...]."""
    return np.concatenate(
        [piece[w.first - w.start : w.last - w.start] for w, piece in zip(spans, pieces, strict=True)],
    )
