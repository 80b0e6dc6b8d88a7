"""Letters as labels: what the tasks that label a sequence letter by letter share.

* The labels of a task are the letters that its training part shows, sorted, kept as one text in the state.
* An input and its target are checked against each other when a record is read, so that an error names the row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from anyformer.task import Array, Record

IGNORED = -100
"""The label that neither loss nor score counts."""


class Checked(Sequence[Record[Any, Any]]):
    """Records that pass through a check when they are read; its `ValueError` is raised again with the row's number."""

    def __init__(
        self, records: Sequence[Record[Any, Any]], check: Callable[[Record[Any, Any]], None], rows: range | None = None
    ) -> None:
        self.records, self.check = records, check
        self.rows = range(len(records)) if rows is None else rows
        """Where each record stood before slicing."""

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Checked(self.records[index], self.check, self.rows[index])
        record = self.records[index]
        try:
            self.check(record)
        except ValueError as error:
            raise ValueError(f"row {self.rows[index] + 1}: {error}") from None
        return record


def letters_of(text: str) -> Array:
    """Code points of a text, uint32 [L]."""
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")


def label_ids(text: str, labels: str, counted: Array | None = None) -> Array:
    """Index of each letter of `text` among `labels`, int64 [L]; `IGNORED` where `counted` [L] is false.

    Raises `ValueError` for a counted letter that the training part did not show.
    """
    letters = letters_of(text)
    ids = np.full(len(letters), IGNORED, dtype=np.int64)
    for index, label in enumerate(labels):
        ids[letters == ord(label)] = index
    counted = np.ones(len(letters), dtype=bool) if counted is None else counted
    unknown = counted & (ids == IGNORED)
    if unknown.any():
        place = int(np.argmax(unknown))
        raise ValueError(
            f"the label {text[place]!r} at position {place + 1} is not in the training part, which has {' '.join(labels)}"
        )
    return np.where(counted, ids, IGNORED)


def probabilities_of(logits: Array) -> Array:
    """Softmax over the last axis, in float64: [..., C] to [..., C]."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
