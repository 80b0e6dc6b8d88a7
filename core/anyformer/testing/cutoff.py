"""Who may know what: no later row may reach an earlier input, and no token of a target what is written before it.

Where the cut-off lies is found by trying: rows are changed, and it is seen what moves. The code of the task is not read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from anyformer.data.packs import collate
from anyformer.task import Array, Record, Sample, Task
from anyformer.testing.compare import difference
from anyformer.testing.subject import Small

Rows = Sequence[Mapping[str, Any]]


class Timeline:
    """Rows in order of time, of which a task makes records; all questions are about the first record."""

    def __init__(self, task: Task[Any, Any, Any], rows: Rows) -> None:
        self.task, self.rows = task, list(rows)
        self.columns = [name for name in self.rows[0] if self._may_change(name)]
        """Columns of numbers that are no time: the task still makes records when they change."""
        self.size = least(1, len(self.rows), lambda size: self._try(self.rows[:size]) is not None)
        """Rows that the first record is made of, its target included."""

    def later_rows_reach(self) -> str:
        """What moves in the first record's samples when the rows after it change, or are not there; else nothing."""
        short, changed = self.rows[: self.size], self._changed(self.rows, self.size, len(self.rows), self.columns)
        before = self._seen(self.rows)
        return difference(self._seen(short), before) or difference(self._seen(changed), before)

    def target_reaches(self) -> str:
        """Whether the first record's input and its target are made of the same rows, in words; else nothing."""
        rows, end = self.rows[: self.size], self.size
        if end == 1 or not self.columns:
            return ""
        before = self._seen(rows)
        cut = least(0, end, lambda cut: not difference(self._seen(self._changed(rows, cut, end, self.columns)), before))
        target, moved = self._record(rows).target, self._record(self._changed(rows, 0, cut, self.columns)).target
        if not difference(moved, target):
            return ""
        return f"the input of the first record depends on rows up to {cut}, its target on some of the same rows"

    def _may_change(self, column: str) -> bool:
        try:
            changed = self._changed(self.rows, 0, len(self.rows), [column])
        except (TypeError, ValueError):
            return False  # it holds no numbers
        return self._try(changed) is not None

    def _try(self, rows: Rows) -> Record[Any, Any] | None:
        try:
            return self._record(rows)
        except (ValueError, IndexError):
            return None

    def _record(self, rows: Rows) -> Record[Any, Any]:
        return self.task.records(rows)[0]

    def _seen(self, rows: Rows) -> list[Sample]:
        return self.task.encode(self._record(rows).input, self.task.Options())

    def _changed(self, rows: Rows, first: int, last: int, columns: Sequence[str]) -> Rows:
        changed = [{**row, **{name: _other(row[name]) for name in columns}} for row in rows[first:last]]
        return [*rows[:first], *changed, *rows[last:]]


def least(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The least number from `low` to `high` for which something holds that holds for all greater ones, `high` included."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _other(value: Any) -> Any:
    """Another number, as text where it was text."""
    number = 1.5 * float(value) + 1
    return str(number) if isinstance(value, str) else number


def swapped_target_reaches(small: Small) -> str:
    """What moves in the source of a sample of training when its record gets another's target; else nothing."""
    record, other = small.records[0], small.records[1]
    pairs = (record, Record(record.input, other.target))
    mine, theirs = ([_source(s) for s in small.task.learn(each, np.random.default_rng(0))] for each in pairs)
    return difference(theirs, mine)


def _source(sample: Sample) -> dict[str, Array]:
    return {name: part for name, part in sample.parts.items() if name != "target"}


def changed_token_reaches(small: Small) -> str:
    """Where the decoder's predictions move before a token of its target that changed; else nothing."""
    sample = max(small.samples, key=lambda sample: len(sample.parts["target"]))
    target = sample.parts["target"]
    expected = _token_predictions(small, sample)
    known = np.unique(np.concatenate([each.parts["target"] for each in small.samples]), axis=0)
    for place in sorted({1, len(target) // 2, len(target) - 1} - {0}):
        changed = target.copy()
        changed[place] = next(token for token in known if np.any(token != target[place]))
        found = _token_predictions(small, dataclasses.replace(sample, parts={**sample.parts, "target": changed}))
        if not any(np.any(found[name][place:] != values[place:]) for name, values in expected.items()):
            return f"nothing moves when token {place} of the target changes: the decoder does not read it"
        now, before = ({name: values[:place] for name, values in each.items()} for each in (found, expected))
        if moved := difference(now, before, tolerance=1e-6):
            return f"token {place} of the target changed, and before it {moved}"
    return ""


def _token_predictions(small: Small, sample: Sample) -> dict[str, Array]:
    """Predictions [L, ...] that the head has for each token of the target."""
    model = small.artifact.model.eval()
    parts, _ = collate([sample])
    with torch.inference_mode():
        streams = model.encode(parts, small.id)
        head = model[small.id].head
        (prediction,) = head.split(head(streams), streams)
    length = len(sample.parts["target"])
    return {name: values for name, values in prediction.values.items() if values.shape[:1] == (length,)}
