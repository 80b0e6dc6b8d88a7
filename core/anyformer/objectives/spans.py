"""Spans at random: how long they are, and where they lie."""

from __future__ import annotations

import numpy as np

from anyformer.task import Array, Rng


def compose(total: int, num_parts: int, rng: Rng) -> Array:
    """Positive lengths that add up to `total`, int64 [num_parts]; every such list is as likely as any other."""
    assert 1 <= num_parts <= total
    cuts = np.sort(rng.choice(total - 1, num_parts - 1, replace=False)) + 1
    return np.diff(cuts, prepend=0, append=total)


def lay_out(lengths: Array, room: int, rng: Rng) -> tuple[Array, Array]:
    """Spans of these lengths [K] in this order within `room` tokens: where each begins, and one past its end, int64 [K].

    At least one token stands between two spans, also beside one of length 0; every such placement is equally likely.
    """
    num_others = room - int(lengths.sum())
    assert len(lengths) <= num_others + 1, "the spans cannot be kept apart"
    before = np.sort(rng.choice(num_others + 1, len(lengths), replace=False))
    ends = before + np.cumsum(lengths)
    return ends - lengths, ends


def num_hidden(length: int, rate: float) -> int:
    """How many of `length` things are hidden: the share `rate`, at least one, and if possible not all."""
    return max(1, min(round(length * rate), length - 1))
