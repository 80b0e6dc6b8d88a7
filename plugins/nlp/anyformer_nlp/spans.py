"""Which characters of a text an id stands for: half-open ranges [from, to), int64 [L, 2]."""

from __future__ import annotations

import numpy as np

from anyformer.task import Array


def spans_of_bytes(text: str, lengths: Array) -> Array:
    """Characters [from, to) of a text that consecutive runs of its UTF-8 bytes, of these lengths [L], touch: [L, 2]."""
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    character_of_byte = np.cumsum((data & 0xC0) != 0x80) - 1  # a byte 10xxxxxx continues a character
    ends = np.cumsum(lengths)
    return np.stack([character_of_byte[ends - lengths], character_of_byte[ends - 1] + 1], axis=1).astype(np.int64)


def spans_before_lower(spans: Array, raw: str, text: str) -> Array:
    """Spans [L, 2] of a text as spans of `raw`, which it was before it was lowered: some letters become two."""
    if len(raw) == len(text):
        return spans
    character = np.repeat(np.arange(len(raw)), [len(letter.lower()) for letter in raw])
    starts, ends = character[spans[:, 0]], character[spans[:, 1] - 1] + 1
    return np.stack([starts, np.where(spans[:, 0] == spans[:, 1], starts, ends)], axis=1)
