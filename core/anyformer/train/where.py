"""Where a record comes from, in the words of the person who has the file: `words.jsonl, line 7`.

* A run learns from a view of the rows, so the number of a record says nothing; this walks back to the file.
* A sequence that knows the place of its rows has a method `where(index)`.
* Records that are made of several rows, or of a part of one, are named by their number alone.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any

from anyformer.data.lines import Lines
from anyformer.data.views import Columns, Concatenated, View


def where(records: Sequence[Any], index: int) -> str:
    """The file and the line of a record if they are known, else its number, from 1, in the rows it was taken from."""
    rows, place = records, index
    while not hasattr(rows, "where"):
        found = _step(rows, place)
        if found is None:
            return f"row {place + 1}" if rows is not records else f"record {place + 1} of the training part"
        rows, place = found
    said: str = rows.where(place)
    return said


def _step(rows: Sequence[Any], place: int) -> tuple[Sequence[Any], int] | None:
    """The sequence that `rows` is made from, and the place there; None where it ends, or is not one to one."""
    if isinstance(rows, View):
        return rows.rows, int(rows.places[place])
    if isinstance(rows, Concatenated):
        part = bisect.bisect_right(rows.ends, place)
        return rows.parts[part], place - (rows.ends[part - 1] if part else 0)
    if isinstance(rows, Columns):
        lines = [column for column in rows.columns.values() if isinstance(column, Lines)]
        return (lines[0], place) if lines else None
    for name in ("lines", "records", "raw", "rows"):
        below = getattr(rows, name, None)
        if isinstance(below, Sequence) and not isinstance(below, str | range) and len(below) == len(rows):
            return below, place
    return None
