"""Parquet files by random access: row groups are read when a row of theirs is asked for, and kept within a budget.

* Only the footer is read at the start. A file that fits in the budget is read once; of a larger one the groups used last
  are kept, and at least one.
* A group can only be read whole. A larger file that is learned from in random order is quick to read if its groups are small
  (`row_group_size=1000` when it is written); else give it as a stream (`streams`), which reads from the first row on.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyformer.data.files import Content
from anyformer.data.views import Row, RowSequence
from anyformer.hints import listed

MAX_HELD = 2**30
"""Bytes of unpacked row groups that one file keeps in memory."""


class ParquetRows(RowSequence):
    """The rows of a `.parquet` file. Raises `ValueError` for a file that is none, and where pyarrow is missing."""

    def __init__(self, path: Path) -> None:
        self.content = Content(path)
        self._open()
        sizes = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        self.ends = np.cumsum(sizes, dtype=np.int64)
        """One more than the last row of each group."""

    def _open(self) -> None:
        path = self.content.path
        try:
            import pyarrow
            import pyarrow.parquet
        except ModuleNotFoundError:
            raise ValueError(f"{path}: reading .parquet needs pyarrow: pip install pyarrow") from None
        self._held: OrderedDict[int, Any] = OrderedDict()
        self._process = os.getpid()
        try:
            self._file = pyarrow.parquet.ParquetFile(os.path.abspath(path), memory_map=True)
        except (OSError, pyarrow.ArrowException) as error:
            raise _unreadable(path, error) from None

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def row(self, index: int) -> Row:
        """A row as Python values. Raises `ValueError` if its group cannot be read."""
        group = int(np.searchsorted(self.ends, index, side="right"))
        place = index - (int(self.ends[group - 1]) if group else 0)
        return {name: column[place].as_py() for name, column in self._group(group).items()}

    def where(self, index: int) -> str:
        """The file and the number of a row, for an error."""
        return f"{self.content.path}, row {index + 1:,}"

    def feed(self, digest: Any) -> None:
        """The file's bytes."""
        self.content.feed(digest)

    def _group(self, group: int) -> dict[str, Any]:
        """The columns of a row group, read unless they are held."""
        import pyarrow

        if group in self._held:
            self._held.move_to_end(group)
            return self._held[group][1]
        if os.getpid() != self._process:  # a fork has none of the threads that Arrow reads with
            self._open()
        try:
            table = self._file.read_row_group(group, use_threads=False)
        except (OSError, pyarrow.ArrowException) as error:
            raise _unreadable(self.content.path, error) from None
        self._held[group] = table.nbytes, dict(zip(table.column_names, table.columns, strict=True))
        while len(self._held) > 1 and sum(size for size, _ in self._held.values()) > MAX_HELD:
            self._held.popitem(last=False)
        return self._held[group][1]

    def __getstate__(self) -> dict[str, Any]:
        return {"content": self.content, "ends": self.ends}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> ParquetRows:
    """Rows of a Parquet file."""
    if columns is not None:
        raise ValueError(
            f"{path} names its columns itself; to rename one, write columns=field=column; got {listed(columns)}"
        )
    return ParquetRows(path)


def _unreadable(path: Path, error: BaseException) -> ValueError:
    return ValueError(f"{path}: this is no Parquet file that can be read: {' '.join(str(error).split())}")
