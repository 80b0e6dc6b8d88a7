"""Row sequences that hold no rows of their own: columns side by side, a selection, several files in a row, other names.

A row is a mapping from field to value, made when it is asked for. Every sequence here gives `rows[3]`, `rows[-1]` and, as a
view that copies nothing, `rows[10:20]`.
"""

from __future__ import annotations

import bisect
import operator
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from anyformer.data.hashing import feed
from anyformer.hints import did_you_mean, listed
from anyformer.task import Array

Row = Mapping[str, Any]


class RowSequence(Sequence[Row]):
    """Rows by random access. A subclass gives `row` and `__len__`, and `feed` if it knows a cheaper hash than its rows'."""

    def row(self, index: int) -> Row:
        """The row at `index`, from 0 to the length."""
        raise NotImplementedError

    def feed(self, digest: Any) -> None:
        """Add to a hash what the rows are made from."""
        for index in range(len(self)):
            feed(digest, self.row(index))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return View(self, np.arange(len(self))[index])
        place, size = operator.index(index), len(self)
        if not -size <= place < size:
            raise IndexError(place)
        return self.row(place % size)


class View(RowSequence):
    """Some rows of a sequence, in the order of `places`, int64 [N]."""

    def __init__(self, rows: Sequence[Row], places: Array) -> None:
        self.rows: Sequence[Row] = rows.rows if isinstance(rows, View) else rows
        self.places: Array = rows.places[places] if isinstance(rows, View) else places

    def __len__(self) -> int:
        return len(self.places)

    def row(self, index: int) -> Row:
        """The row at `index` of the view."""
        return self.rows[int(self.places[index])]

    def feed(self, digest: Any) -> None:
        """The rows it selects from, and which of them."""
        feed(digest, self.rows)
        digest.update(self.places.astype("<i8").tobytes())


class Columns(RowSequence):
    """Equally long sequences side by side: a row takes one value from each.

    Raises `ValueError` naming both lengths where they differ.
    """

    def __init__(self, columns: Mapping[str, Sequence[Any] | Array]) -> None:
        self.columns = dict(columns)
        sizes = {name: len(column) for name, column in self.columns.items()}
        first = next(iter(sizes))
        for name, size in sizes.items():
            if size != sizes[first]:
                raise ValueError(
                    f"{first!r} has {sizes[first]:,} rows and {name!r} has {size:,}; side by side they must have as many"
                )

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def row(self, index: int) -> Row:
        """One value of each column."""
        return {name: column[index] for name, column in self.columns.items()}

    def feed(self, digest: Any) -> None:
        """Each column with its name."""
        for name, column in self.columns.items():
            digest.update(name.encode())
            feed(digest, column)


class Concatenated(RowSequence):
    """The rows of several sequences, one after the other."""

    def __init__(self, parts: Sequence[Sequence[Row]]) -> None:
        self.parts = parts
        self.ends = list(accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self.ends[-1]

    def row(self, index: int) -> Row:
        """The row of the part that `index` falls in."""
        part = bisect.bisect_right(self.ends, index)
        return self.parts[part][index - (self.ends[part - 1] if part else 0)]

    def feed(self, digest: Any) -> None:
        """Each part."""
        for part in self.parts:
            feed(digest, part)


class Renamed(RowSequence):
    """Rows with some columns under other names as well: `names` maps a field to the column it is taken from.

    Raises `ValueError` for a column that the first row does not have, naming those it has.
    """

    def __init__(self, rows: Sequence[Row], names: Mapping[str, str]) -> None:
        self.rows, self.names = rows, dict(names)
        for column in self.names.values():
            check_column(column, rows)

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, index: int) -> Row:
        """The row, its renamed columns under both names."""
        row = self.rows[index]
        try:
            return {**row, **{field: row[column] for field, column in self.names.items()}}
        except KeyError as error:
            raise ValueError(f"row {index + 1} has no column {error.args[0]!r}; columns: {listed(list(row))}") from None

    def feed(self, digest: Any) -> None:
        """The names, and the rows."""
        digest.update(repr(sorted(self.names.items())).encode())
        feed(digest, self.rows)


def check_column(column: str, rows: Sequence[Row]) -> None:
    """Raises `ValueError` if the first row lacks a column: names those it has, and the one that was probably meant.

    A table whose first line looks like data has no header; the error says so.
    """
    names = list(rows[0]) if len(rows) else []
    if column in names or not names:
        return
    raise ValueError(f"no column {column!r}{did_you_mean(column, names)}; columns: {listed(names)}{header_hint(names)}")


def header_hint(names: Sequence[str]) -> str:
    """What to do if the names of the columns look like data, or nothing."""
    if not any(_looks_like_data(name) for name in names):
        return ""
    return "; the first line looks like data: give a file without a header its names, columns=first,second"


def _looks_like_data(name: str) -> bool:
    """A number, nothing, or a sentence."""
    try:
        float(name)
    except ValueError:
        return not name or len(name) > 40 or len(name.split()) > 4
    return True
