"""Readers: a function from a path to raw rows by random access, for each file suffix the core knows.

| suffix            | a row is                                      | values                                        |
|-------------------|-----------------------------------------------|-----------------------------------------------|
| `.csv`            | a record of RFC 4180, newlines in quotes too  | text                                          |
| `.tsv`            | a line, split at tabs; quotes mean nothing    | text                                          |
| `.jsonl`          | a line with one object                        | of JSON                                       |
| `.json`           | an object of a list, or of `{"data": [...]}`  | of JSON                                       |
| `.txt`            | a line, as `{"text": line}`                   | text, empty lines too                         |
| `.npz`            | one item of every array                       | arrays, numbers, text; never a Python object  |
| `.parquet`        | a row                                         | of Arrow; needs pyarrow                       |

* Every one but `.npz` and `.parquet` may end in `.gz`.
* The first line of a table is its header. A file without one is given `columns`, the names in order.
* Tables, `.jsonl` and `.txt` are indexed once and parsed row by row, and of `.parquet` a row group is read at a time, so
  they may be larger than memory.
* An empty line of a table or of `.jsonl` is no record, except in a `.tsv` of one column, where it is an empty value.

A plugin's reader has the same signature; `Content` (files, packed or not), `index_lines` and
`RowSequence` of this package serve it too.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyformer.data.files import MAX_UNPACKED, Content, require_file, unreadable
from anyformer.data.lines import Lines, index_lines
from anyformer.data.parquet import read_parquet
from anyformer.data.tables import read_csv, read_tsv
from anyformer.data.views import Columns, Row, RowSequence
from anyformer.hints import listed, quoted

Reader = Callable[[Path, Sequence[str] | None], Sequence[Row]]


class JsonLines(RowSequence):
    """A `.jsonl` file: one object a line."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines

    def __len__(self) -> int:
        return len(self.lines)

    def row(self, index: int) -> Row:
        """The object of a line. Raises `ValueError` for bad JSON, and for what is no object."""
        try:
            row = json.loads(self.lines[index])
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{self.lines.where(index)}: this is no JSON: {_problem(error)}") from None
        if not isinstance(row, dict):
            raise ValueError(f"{self.lines.where(index)}: each line must be an object {{...}}; got {quoted(row)}")
        return row

    def feed(self, digest: Any) -> None:
        """The file."""
        self.lines.feed(digest)


def read_jsonl(path: Path, columns: Sequence[str] | None = None) -> JsonLines:
    """Rows of a file with one JSON object a line."""
    _no_columns(path, columns)
    return JsonLines(index_lines(Content(path), blank=False))


def read_json(path: Path, columns: Sequence[str] | None = None) -> Sequence[Row]:
    """Rows of a JSON file: a list of objects, or an object whose `data` is one. The file is parsed to memory."""
    _no_columns(path, columns)
    try:
        parsed = json.loads(Content(path).whole().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except (json.JSONDecodeError, RecursionError) as error:
        hint = "; if it has one object a line, name it .jsonl" if "Extra data" in str(error) else ""
        raise ValueError(
            f"{path}, line {getattr(error, 'lineno', 1)}: this is no JSON: {_problem(error)}{hint}"
        ) from None
    rows = parsed.get("data") if isinstance(parsed, dict) else parsed
    if not isinstance(rows, list):
        found = f"an object with {listed(list(parsed))}" if isinstance(parsed, dict) else quoted(parsed)
        raise ValueError(f"{path}: a list of objects, or an object whose 'data' is one, is needed; got {found}")
    for place, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ValueError(f"{path}, item {place}: each must be an object {{...}}; got {quoted(row)}")
    return rows


def read_txt(path: Path, columns: Sequence[str] | None = None) -> Columns:
    """A row a line: `{"text": line}`; `columns`, one name, calls it otherwise."""
    if columns and len(columns) > 1:
        raise ValueError(f"{path}: a line of text is one column; got {listed(columns)}")
    return Columns({(columns or ["text"])[0]: index_lines(Content(path))})


def read_npz(path: Path, columns: Sequence[str] | None = None) -> Columns:
    """Rows across the arrays of a numpy archive, or across those called `columns`; they share their first axis."""
    names, arrays = _members(require_file(path)), {}
    for name in columns or names:
        if name not in names:
            raise ValueError(f"{path} has no array {name!r}; arrays: {listed(names)}")
    with np.load(path, allow_pickle=False) as archive:
        for name in columns or names:
            try:
                array = archive[name]
            except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                why = "it holds Python objects, which only pickle could read" if "pickle" in str(error) else error
                raise ValueError(f"{path}: the array {name!r} cannot be read: {why}") from None
            if not array.ndim:
                raise ValueError(f"{path}: {name!r} is a single value; choose the arrays of rows, columns=field=array")
            arrays[name] = array
    return Columns(arrays)


READERS: dict[str, Reader] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".jsonl": read_jsonl,
    ".json": read_json,
    ".txt": read_txt,
    ".npz": read_npz,
    ".parquet": read_parquet,
}


def _members(path: Path) -> list[str]:
    """Names of the arrays in a `.npz` file, after a look at how much they unfold to."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is no numpy archive: {error}") from None
    except OSError as error:
        raise unreadable(path, error) from None
    if sum(member.file_size for member in members if member.compress_type != zipfile.ZIP_STORED) > MAX_UNPACKED:
        raise ValueError(f"{path} unfolds to more than {MAX_UNPACKED:,} bytes; save it uncompressed, with numpy.savez")
    names = [member.filename.removesuffix(".npy") for member in members if member.filename.endswith(".npy")]
    if not names:
        raise ValueError(f"{path} holds no array")
    return names


def _no_columns(path: Path, columns: Sequence[str] | None) -> None:
    if columns is not None:
        raise ValueError(
            f"{path} names its columns itself; to rename one, write columns=field=column; got {listed(columns)}"
        )


def _problem(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return " ".join(str(error).split())
