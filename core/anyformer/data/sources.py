"""From what a user names as data to rows: a path, some of its rows, a pattern, columns side by side, or rows in memory.

| data                                             | is                                                              |
|--------------------------------------------------|-----------------------------------------------------------------|
| `reviews.csv`                                    | a file, read by its suffix, looked for through `.gz`            |
| `reviews.csv[100:200]`                           | some of its rows, as Python slices                              |
| `books/*.txt`                                    | the files of a pattern in sorted order, one after the other     |
| `text=train.en.gz,translation=train.de.gz`       | files of lines side by side; in Python also a mapping           |
| a list of mappings, a data frame, any iterable   | rows in memory                                                  |
| a `Dataset` of the datasets library              | its rows, where they are                                        |
| a function that returns a fresh iterator, an     | a stream: rows from the first on, which may be more than fit in |
| `IterableDataset`, `Stream(function, name=...)`  | memory (see `streams`)                                          |

* `columns` names the columns of a file without a header (`text,label`), or takes fields from columns of other names
  (`text=sentence,label=mark`).
* The longest suffix that fits wins; a plugin's reader does not replace one of the core. A plugin reads folders under the key
  `folder/`.
* Every error says what was given, what exists and what to do.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from anyformer.data.files import Content, require_file
from anyformer.data.hashing import fingerprint, overlap
from anyformer.data.hub import opened
from anyformer.data.lines import index_lines
from anyformer.data.readers import READERS, Reader, read_npz
from anyformer.data.streams import Stream, StreamRows
from anyformer.data.views import Columns, Concatenated, Renamed, Row, View
from anyformer.hints import did_you_mean, listed, quoted
from anyformer.task import resolve

__all__ = ["FOLDER", "fingerprint", "open_data", "overlap", "parse_columns", "split"]

FOLDER = "folder/"
"""The key under which a plugin's reader of folders is registered."""
_SLICE = re.compile(r"(?P<path>.+)\[(?P<start>-?\d*):(?P<stop>-?\d*)(?::(?P<step>-?\d*))?\]")
PAIRS = re.compile(r"\w+=[^,]+(,\w+=[^,]+)*")

Names = Sequence[str] | Mapping[str, str]


def open_data(
    data: Any,
    columns: str | Names | None = None,
    *,
    reader: str | None = None,
    readers: Mapping[str, str | Reader] | None = None,
) -> Sequence[Row]:
    """The rows that `data` names; never none.

    `columns` are names in order, a mapping from field to column, or either as text; `reader` is a suffix or format name that
    overrules the file's own; `readers` are those of the plugins, by default of the installed ones.
    Raises `ValueError` for data that cannot be read or has no rows.
    """
    names = parse_columns(columns) if isinstance(columns, str) else columns
    renames = names if isinstance(names, Mapping) else None
    if isinstance(data, str) and PAIRS.fullmatch(data) and not Path(data).exists():
        data = dict(pair.split("=", 1) for pair in data.split(","))
    if isinstance(data, str | Path):
        rows = _from_path(data, names, reader, _known(readers))
    elif names is not None and renames is None:
        raise ValueError(
            f"columns={listed(list(names))} names the columns of one file without a header; rename with field=column"
        )
    else:
        rows = _from_python(data)
    if not len(rows):
        raise ValueError(f"{_said(data)} has no rows")
    if renames and isinstance(rows, StreamRows):
        return rows.renamed(renames)
    return Renamed(rows, renames) if renames else rows


def split(rows: Sequence[Row], fraction: float, seed: int | None) -> tuple[View, View]:
    """The rows for training and a `fraction` of them held out, both in their old order.

    The held-out rows are drawn by `seed`, the same with every version of numpy; without a seed they are the last ones,
    as rows in order of time need it. Raises `ValueError` for a fraction that is not between 0 and 1, or leaves nothing.
    """
    if isinstance(rows, StreamRows):
        raise ValueError(f"{rows.stream.name} cannot be split by a share, as its length is not known")
    if not 0 < fraction < 1:
        raise ValueError(f"the fraction to hold out must lie between 0 and 1; got {fraction}")
    if len(rows) < 2:
        raise ValueError(f"{len(rows)} row cannot be split into training and held-out rows")
    count = min(max(1, round(len(rows) * fraction)), len(rows) - 1)
    places = np.arange(len(rows))
    if seed is not None:  # raw bits of PCG64 are fixed for good; numpy's shuffling methods may change
        places = np.argsort(np.random.PCG64(seed).random_raw(len(rows)), kind="stable")
    return View(rows, np.sort(places[:-count])), View(rows, np.sort(places[-count:]))


def parse_columns(text: str) -> Names:
    """`a,b` to a list of names, `field=column,...` to a mapping; raises `ValueError` for anything between."""
    parts = [part.strip() for part in text.split(",")]
    pairs = [tuple(half.strip() for half in part.split("=", 1)) for part in parts]
    if not all(all(pair) for pair in pairs) or len({len(pair) for pair in pairs}) > 1:
        raise ValueError(f"columns={text!r} is neither names in order, a,b, nor new names, field=column,field=column")
    return parts if len(pairs[0]) == 1 else {pair[0]: pair[1] for pair in pairs}


def _known(plugin_readers: Mapping[str, str | Reader] | None) -> dict[str, str | Reader]:
    if plugin_readers is None:
        from anyformer.plugins import readers as installed

        plugin_readers = installed()
    return {**plugin_readers, **READERS}


def _from_path(
    data: str | Path, names: Names | None, reader: str | None, known: Mapping[str, str | Reader]
) -> Sequence[Row]:
    """Rows of a file or folder, of a pattern of them, or a slice of either."""
    if Path(data).exists():
        return _read(Path(data), names, reader, known)
    if found := _SLICE.fullmatch(str(data)):
        bounds = _bounds(found)
        rows = _from_path(found["path"], names, reader, known)
        chosen = View(rows, np.arange(len(rows))[bounds])
        if not len(chosen):
            raise ValueError(f"{_said(data)} has no rows: there are {len(rows):,} in all")
        return chosen
    if paths := [Path(path) for path in sorted(glob.glob(str(data), recursive=True))]:
        return Concatenated([_read(path, names, reader, known) for path in paths])
    return _read(require_file(Path(data)), names, reader, known)


def _bounds(found: re.Match[str]) -> slice:
    """The slice that a path ends in."""
    bounds = slice(*(int(found[part]) if found[part] else None for part in ("start", "stop", "step")))
    if bounds.step == 0:
        raise ValueError(f"{found[0]!r}: the step of a slice cannot be 0")
    return bounds


def _read(path: Path, names: Names | None, reader: str | None, known: Mapping[str, str | Reader]) -> Sequence[Row]:
    """Rows of one file or folder."""
    chosen = known[_key(path, reader, known)]
    read = resolve(chosen) if isinstance(chosen, str) else chosen
    if not isinstance(names, Mapping):
        return read(path, names)
    # Of an archive with arrays of several lengths (train_images, test_images, ...), only the chosen ones are read.
    return read(path, list(dict.fromkeys(names.values())) if read is read_npz else None)


def _key(path: Path, reader: str | None, known: Mapping[str, Any]) -> str:
    """The name of the reader for a path: what was asked for, or what the path ends in."""
    if reader is not None:
        for key in (reader, f".{reader}"):
            if key in known:
                return key
        raise ValueError(
            f"no reader is called {reader!r}{did_you_mean(reader, known)}; readers: {listed(sorted(known))}"
        )
    if path.is_dir():
        if FOLDER in known:
            return FOLDER
        inside = sorted(entry.name for entry in path.iterdir())
        raise ValueError(
            f"{str(path)!r} is a folder, which no installed plugin reads; name files in it: {listed(inside, 8)}"
        )
    name = path.name.lower().removesuffix(".gz")
    fitting = [key for key in known if key.startswith(".") and name.endswith(key)]
    if fitting:
        return max(fitting, key=len)
    suffixes = sorted(key for key in known if key.startswith("."))
    raise ValueError(
        f"{str(path)!r}: no reader for this suffix; suffixes: {', '.join(suffixes)}; or name one, reader=txt"
    )


def _side_by_side(data: Mapping[str, Any]) -> Columns:
    """A column for each entry: the lines of a file, or a sequence in memory."""
    if not data:
        raise ValueError("a mapping of columns is empty; write {'text': 'train.en', 'translation': 'train.de'}")
    columns: dict[str, Any] = {}
    for name, column in data.items():
        if isinstance(column, str | Path):
            columns[name] = _lines(column)
        elif hasattr(column, "__len__") and hasattr(column, "__getitem__"):
            columns[name] = column
        else:
            raise ValueError(f"the column {name!r} must be a path or a sequence; got {quoted(column)}")
    return Columns(columns)


def _lines(data: str | Path) -> Sequence[str]:
    """The lines of a file, or a slice of them."""
    found = _SLICE.fullmatch(str(data))
    if found is None or Path(data).exists():
        return index_lines(Content(Path(data)))
    return index_lines(Content(Path(found["path"])))[_bounds(found)]


def _from_python(data: Any) -> Sequence[Row]:
    """Rows of what is no path."""
    if (rows := opened(data)) is not None:
        return rows
    if isinstance(data, Mapping):
        return _side_by_side(data)
    if isinstance(data, Stream):
        return StreamRows(data)
    if callable(data) and not isinstance(data, Iterable) and not hasattr(data, "__getitem__"):
        return StreamRows(Stream(data, getattr(data, "__qualname__", "the stream")))
    return _in_memory(data)


def _in_memory(data: Any) -> Sequence[Row]:
    """A sequence of mappings as it is, another iterable as a list, a data frame as its columns."""
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        return Columns({str(name): data[name].to_numpy() for name in data.columns})
    if not isinstance(data, Iterable) and not hasattr(data, "__getitem__"):
        raise ValueError(f"data must be a path, columns or rows; got {quoted(data)}")
    rows = data if hasattr(data, "__len__") and hasattr(data, "__getitem__") else list(data)
    if len(rows) and not isinstance(rows[0], Mapping | BaseModel):
        raise ValueError(f"a row in memory is a mapping from field to value, {{'text': ...}}; got {quoted(rows[0])}")
    return rows


def _said(data: Any) -> str:
    """How an error calls the data."""
    return repr(str(data)) if isinstance(data, str | Path) else "the data"
