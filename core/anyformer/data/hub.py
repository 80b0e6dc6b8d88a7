"""Data sets of the datasets library (Hugging Face): a `Dataset` by random access, an `IterableDataset` as a stream.

* The library is never imported here: who has such an object has imported it.
* Rows stay where the data set has them, in a memory-mapped file as a rule; one is made when it is asked for.
* Values become what tasks take: the number of a class its name, an image its encoded bytes (or its path), an `Array2D` to
  `Array5D` an array of numpy. A class that is not known, -1, becomes None, which a task refuses.
* Where a user has set a transform, rows are as it gives them; only images of Pillow are encoded.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anyformer.data.streams import Stream, StreamRows
from anyformer.data.views import Row, RowSequence
from anyformer.hints import listed

HASHED = 1000
"""Rows that are hashed at once."""
Convert = Callable[[Any], Any]


def opened(data: Any) -> Sequence[Row] | None:
    """The rows of an object of the datasets library; None: it is none.

    Raises `ValueError` for one with several parts, naming them.
    """
    library = sys.modules.get("datasets")
    if not hasattr(library, "IterableDatasetDict"):  # not imported, or another module of that name
        return None
    assert library is not None
    if isinstance(data, library.DatasetDict | library.IterableDatasetDict):
        kind, parts = type(data).__name__, list(data)
        first = parts[0] if parts else "train"
        raise ValueError(f"the data is a {kind} with the parts {listed(parts)}; give one, data=dataset[{first!r}]")
    if isinstance(data, library.IterableDataset):
        return StreamRows(Stream(partial(_stream, _plain(data)), _name(data)))
    return HubRows(data) if isinstance(data, library.Dataset) else None


class HubRows(RowSequence):
    """The rows of a `Dataset`."""

    def __init__(self, data: Any) -> None:
        self.data = _plain(data)
        self.name = _name(data)
        self._converts = _converts(data)

    def __len__(self) -> int:
        return len(self.data)

    def row(self, index: int) -> Row:
        """A row, its values as tasks take them."""
        return _converted(self.data[index], self._converts)

    def where(self, index: int) -> str:
        """The name of the data set and the number of a row, for an error."""
        return f"{self.name}, row {index + 1:,}"

    def feed(self, digest: Any) -> None:
        """The names and types of the columns, and the rows as Arrow writes them, however they lie in files."""
        digest.update(repr(self.data.features).encode())
        for table in self.data.with_format("arrow").iter(HASHED):
            for batch in table.combine_chunks().to_batches():
                digest.update(batch.serialize())


def _name(data: Any) -> str:
    """`imdb (train)`, as far as the data set knows."""
    name = data.info.dataset_name or data.info.builder_name or "the dataset"
    return f"{name} ({data.split})" if data.split else str(name)


def _transformed(data: Any) -> bool:
    """Whether a user's own function makes the rows; a stream applies such functions itself, and has none here."""
    return getattr(data, "format", {"type": None})["type"] == "custom"


def _plain(data: Any) -> Any:
    """The data set with its rows as Python values, and its images encoded."""
    if _transformed(data):
        return data
    for name, feature in (data.features or {}).items():
        if type(feature).__name__ == "Image" and feature.decode:
            data = data.cast_column(name, type(feature)(decode=False))
    return data.with_format(None)


def _stream(data: Any) -> Iterator[Row]:
    """The rows of an `IterableDataset`, from the first on."""
    converts = _converts(data)
    return (_converted(row, converts) for row in data)


def _converts(data: Any) -> dict[str, Convert]:
    """By column: what makes of a value what tasks take, where that is another."""
    if _transformed(data):
        return {}
    found = {name: _convert(feature) for name, feature in (data.features or {}).items()}
    return {name: convert for name, convert in found.items() if convert is not None}


def _converted(row: Mapping[str, Any], converts: Mapping[str, Convert]) -> Row:
    return {
        name: converts[name](value) if name in converts and value is not None else _not_pillow(value)
        for name, value in row.items()
    }


def _convert(feature: Any) -> Convert | None:
    kind = type(feature).__name__
    if kind == "ClassLabel":
        return partial(_class_name, feature.names)
    if kind == "Image":
        return _image
    if kind.startswith("Array") and kind.endswith("D"):
        return partial(np.asarray, dtype=feature.dtype)
    inner = getattr(feature, "feature", None)
    if inner is None and isinstance(feature, list):
        inner = feature[0]
    if inner is not None and (convert := _convert(inner)) is not None:
        return partial(_each, convert)
    return None


def _class_name(names: Sequence[str], number: int) -> str | None:
    return names[number] if number >= 0 else None


def _each(convert: Convert, values: Sequence[Any]) -> list[Any]:
    return [None if value is None else convert(value) for value in values]


def _image(value: Any) -> Any:
    """Encoded bytes, or the path of a file that is not within the data set."""
    if not isinstance(value, Mapping):
        return _not_pillow(value)
    return value["bytes"] if value["bytes"] is not None else Path(value["path"])


def _not_pillow(value: Any) -> Any:
    """An image of Pillow, which a user's own transform may give, as the bytes of a PNG; any other value as it is."""
    if not type(value).__module__.startswith("PIL."):
        return value
    content = io.BytesIO()
    fitting = value if value.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else value.convert("RGB")
    fitting.save(content, "PNG", compress_level=1)
    return content.getvalue()
