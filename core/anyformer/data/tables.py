"""Tables of text: `.csv` and `.tsv` files, split by the line and under the names of their columns.

* The first line is the header; a file without one is given the names in order.
* A `.csv` file without a quote has a record a line. One with quotes is read once by the csv module, whose record boundaries
  are kept, so that a newline in quotes is text.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyformer.data.files import Content
from anyformer.data.hashing import feed
from anyformer.data.lines import Lines, index_lines
from anyformer.data.views import Row, RowSequence, header_hint
from anyformer.hints import listed

MAX_FIELD = 2**30
"""Characters in one value of a `.csv` file; the csv module's own limit, 131,072, is shorter than many a text."""


class Table(RowSequence):
    """A `.csv` or `.tsv` file: lines split by a separator, under the names of the columns."""

    def __init__(self, lines: Lines, names: Sequence[str], split: Callable[[str], list[str]]) -> None:
        self.lines, self.names, self.split = lines, list(names), split

    def __len__(self) -> int:
        return len(self.lines)

    def row(self, index: int) -> Row:
        """The values of a record by column. Raises `ValueError` if there are more or fewer than columns."""
        values = _split(self.lines, index, self.split)
        if len(values) != len(self.names):
            raise ValueError(
                f"{self.lines.where(index)}: {len(values)} values for {len(self.names)} columns ({listed(self.names)})"
            )
        return dict(zip(self.names, values, strict=True))

    def feed(self, digest: Any) -> None:
        """The file, and the names."""
        self.lines.feed(digest)
        feed(digest, self.names)


def read_csv(path: Path, columns: Sequence[str] | None = None) -> Table:
    """Rows of comma-separated values (RFC 4180), split as the csv module splits them."""
    content = Content(path)
    lines = index_lines(content, blank=False)
    if any(b'"' in block for _, block in content.blocks()):
        lines = Lines(content, np.fromiter(_record_starts(content, int(lines.starts[0])), np.uint64))
    return _table(lines, columns, split_csv)


def read_tsv(path: Path, columns: Sequence[str] | None = None) -> Table:
    """Rows of tab-separated values. Quotes are characters like any other."""
    content = Content(path)
    lines = index_lines(content)
    if len(columns or split_tsv(lines[0])) > 1:
        lines = index_lines(content, blank=False)
    return _table(lines, columns, split_tsv)


def split_csv(line: str) -> list[str]:
    """The values of one record of a `.csv` file."""
    if '"' not in line:
        return line.split(",")
    csv.field_size_limit(MAX_FIELD)
    return next(csv.reader([line], strict=True))


def split_tsv(line: str) -> list[str]:
    """The values of one line of a `.tsv` file."""
    return line.split("\t")


def _table(lines: Lines, columns: Sequence[str] | None, split: Callable[[str], list[str]]) -> Table:
    if columns is not None:
        return Table(lines, columns, split)
    names = [name.strip() for name in _split(lines, 0, split)]
    for name in names:
        if names.count(name) > 1:
            known = f"columns: {listed(names)}{header_hint(names)}"
            raise ValueError(f"{lines.where(0)}: two columns are called {name!r}; {known}")
    if len(lines) == 1:
        raise ValueError(
            f"{lines.content.path} has one line, which is read as the header ({listed(names)}), and no rows"
        )
    return Table(lines[1:], names, split)


def _split(lines: Lines, index: int, split: Callable[[str], list[str]]) -> list[str]:
    try:
        return split(lines[index])
    except csv.Error as error:
        raise ValueError(f"{lines.where(index)}: {error}") from None


def _record_starts(content: Content, first: int) -> Iterator[int]:
    """Where each record of a `.csv` file with quotes begins, as the csv module sees it, and the end of the last.

    Bytes are read as Latin-1, one character each: commas, quotes and line ends are the same bytes in UTF-8.
    """
    csv.field_size_limit(MAX_FIELD)
    begin = position = first
    with content.open() as stream:
        stream.seek(first)

        def texts() -> Iterator[str]:
            nonlocal position
            for line in stream:
                position += len(line)
                yield line.decode("latin-1")

        try:
            for values in csv.reader(texts(), strict=True):
                if values:
                    yield begin
                begin = position
        except csv.Error as error:
            line = content.line_number(begin)
            raise ValueError(
                f"{content.path}, the record that begins at line {line}: {error}; is a quote left open?"
            ) from None
    yield position
