"""Where a text goes on: rows cut in two, ids that two texts begin with, the end of a text that a stop string may claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anyformer.data.views import RowSequence
from anyformer.task import Array


class Halved(RowSequence):
    """Rows, those with a text alone cut in two."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], most: int) -> None:
        self.rows, self.most = rows, most

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, index: int) -> Mapping[str, Any]:
        """The row, with `text`, `continuation` and `whole` where it had a `text` alone."""
        row = self.rows[index]
        text = row.get("text")
        if row.get("continuation") is not None or not isinstance(text, str):
            return row
        place = seam(text, self.most)
        return {**row, "text": text[:place], "continuation": text[place:], "whole": True}


def seam(text: str, most: int) -> int:
    """Where to cut a text in two: at the last space in its first half, or in the middle where there is none.

    The first part has at most `most` bytes of UTF-8, and so about as many tokens at most.
    """
    fitting = text[:most].encode(errors="replace")[:most].decode(errors="ignore")
    middle = min(len(text) // 2, len(fitting))
    spaces = [place for place in range(1, middle + 1) if text[place].isspace()]
    return spaces[-1] if spaces else middle


def num_shared(first: Array, second: Array) -> int:
    """How many ids both begin with."""
    shortest = min(len(first), len(second))
    differ = np.flatnonzero(first[:shortest] != second[:shortest])
    return int(differ[0]) if len(differ) else shortest


def held_back(text: str, stops: Sequence[str]) -> int:
    """Characters at the end of a text that may be the beginning of a stop string."""
    sizes = (size for stop in stops for size in range(1, len(stop)) if text.endswith(stop[:size]))
    return max(sizes, default=0)
