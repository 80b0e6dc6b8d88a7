"""Rows with several labels each, in whichever of three ways a table has them, as rows of one way.

| a row has                                         | example                                             |
|---------------------------------------------------|-----------------------------------------------------|
| a list                                            | `{"text": ..., "labels": ["sports", "politics"]}`   |
| a string, its parts between a separator           | `text,labels` / `A match.,"sports, politics"`       |
| a column for each label, of 1, 0 or nothing       | `text,toxic,insult` / `You fool.,1,`                |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anyformer.data.views import Row, RowSequence
from anyformer.hints import listed, quoted

YES, NO, UNKNOWN = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no"), ("", "none", "nan", "null")
"""How a column says it, in lower case."""


class LabelRows(RowSequence):
    """Raw rows with the fields `labels` and `unknown`: those that apply, and those of which that is not known."""

    def __init__(self, raw: Sequence[Mapping[str, Any]], separator: str, columns: Sequence[str]) -> None:
        self.raw, self.separator, self.columns = raw, separator, columns

    def __len__(self) -> int:
        return len(self.raw)

    def row(self, index: int) -> Row:
        """A row. Raises `ValueError` for a label's column that is missing or says something else than yes, no or nothing."""
        row = self.raw[index]
        if self.columns:
            answers = {name: self._answer(row, name, f"row {index + 1}") for name in self.columns}
            labels, unknown = ([name for name in answers if answers[name] is said] for said in (True, None))
            return {**row, "labels": labels, "unknown": unknown}
        if isinstance(given := row.get("labels"), str):
            parts = (part.strip() for part in given.split(self.separator))
            return {**row, "labels": [part for part in parts if part]}
        return row

    def _answer(self, row: Row, name: str, where: str) -> bool | None:
        """Whether a label applies; None where that is not known."""
        if name not in row:
            raise ValueError(f"{where}: the column {name!r} of config.columns is missing; given: {listed(list(row))}")
        said = str(row[name]).strip().lower()
        if said in UNKNOWN:
            return None
        if said not in YES + NO:
            raise ValueError(
                f"{where}: {name!r} is {quoted(row[name])}; write 1 or 0, or nothing where it is not known"
            )
        return said in YES
