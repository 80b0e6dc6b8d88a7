"""Intervals of scores by drawing the records again: the bootstrap (Efron 1979), in blocks for records in order of time.

* Of a record only its row is kept, in a `RowStore`: in memory while they are few, in a temporary file when they are many.
* A draw is kept as how often each record occurs in it. A `Weighted` metric scores many draws at once; any other metric is
  given the rows of each draw, in their old order.
* Sums of rows are taken as they are read, so that a metric that follows from sums never has all rows in memory.
* In order of time, neighbours resemble one another, and drawing them one by one makes intervals too narrow. The moving-block
  bootstrap (Künsch 1989) draws runs of `block` consecutive records.
* An interval is the middle 95 percent of the draws' scores. Draws without a defined score are left out.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np

from anyformer.metrics.base import OfSums, Weighted
from anyformer.task import Array, Metric, Rng

Interval = tuple[float, float]
TAILS = (2.5, 97.5)
"""Percentiles of the draws where an interval begins and ends."""
_CHUNK = 2**18
"""Counts held at once: draws times records."""
_IN_MEMORY = 2**14
"""Numbers that a store holds in memory."""


class RowStore:
    """The rows of one metric: 8 bytes a number, or 4 where the metric's `dtype` is float32.

    Only the newest are in memory; those before them are in a temporary file without a name, which goes with the store.
    """

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.width = 0
        """Numbers in a row, known from the first."""
        self._newest = self._buffer()
        self._file: BinaryIO | None = None
        self._in_file = 0

    def __len__(self) -> int:
        return (self._in_file + len(self._newest)) // self.width if self.width else 0

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, row: Sequence[float]) -> None:
        """Keep the row of one record. Raises `ValueError` if it has another width than the rows before."""
        self.width = self.width or len(row)
        if len(row) != self.width or not self.width:
            name = type(self.metric).__name__
            raise ValueError(
                f"{name}.row gave {len(row)} numbers, not {self.width or 'some'}; a row always has as many"
            )
        self._newest.extend(row)
        if len(self._newest) >= _IN_MEMORY:
            self._file = self._file or tempfile.TemporaryFile()  # noqa: SIM115 - closed with the store
            self._file.seek(0, os.SEEK_END)
            self._file.write(self._newest)
            self._in_file += len(self._newest)
            self._newest = self._buffer()

    @property
    def rows(self) -> Array:
        """A copy of what was kept, [N, k]."""
        rows = np.empty((len(self), self.width), dtype=self.metric.dtype)
        numbers = rows.reshape(-1)
        if self._file is not None:
            self._file.seek(0)
            self._file.readinto(numbers[: self._in_file].data)  # type: ignore[attr-defined]
        numbers[self._in_file :] = self._newest
        return rows

    def blocks(self) -> Iterator[Array]:
        """What was kept, in order, [n, k] at a time."""
        size = self.width * max(1, _IN_MEMORY // max(1, self.width))
        for first in range(0, self._in_file, size):
            assert self._file is not None
            self._file.seek(first * self._newest.itemsize)
            numbers = self._file.read(min(size, self._in_file - first) * self._newest.itemsize)
            yield np.frombuffer(numbers, self.metric.dtype).reshape(-1, self.width)
        if self._newest:
            yield np.array(self._newest, self.metric.dtype).reshape(-1, self.width)

    def scores(self) -> dict[str, float]:
        """The scores of what was kept."""
        if not isinstance(self.metric, OfSums):
            return self.metric.scores(self.rows)
        found = self.metric.of_sums(_sums(self, np.ones((1, len(self)))))
        return {name: float(values[0]) for name, values in found.items()}

    def _buffer(self) -> array[float]:
        return array({"float64": "d", "float32": "f"}[self.metric.dtype])


def interval(
    metric: Metric, rows: Array | RowStore, *, seed: int, draws: int = 1000, block: int = 1
) -> dict[str, Interval]:  # fmt: skip
    """Lower and upper end of each score of rows [N, k]; NaN where no draw had a defined score.

    `block` is the length of the runs that are drawn, at most half the rows. Raises `ValueError` for no rows.
    """
    scores = _scores(metric, rows, np.random.default_rng(seed), draws, block)
    return {name: _middle(values) for name, values in scores.items()}


def difference(
    metric: Metric, rows: Array | RowStore, others: Array | RowStore, *, seed: int, draws: int = 1000, block: int = 1
) -> Interval:
    """Lower and upper end of the primary score of `rows` minus that of `others`, both [N, k] of the same records.

    Both are drawn alike, so what makes a record hard for both cancels. An interval on one side of zero is a difference
    that the choice of records does not explain.
    """
    if len(rows) != len(others):
        raise ValueError(f"{len(rows)} and {len(others)} rows cannot be compared record by record")
    name = metric.names[0]
    ours, theirs = (
        _scores(metric, each, np.random.default_rng(seed), draws, block)[name]
        for each in (rows, others)  # of two stores, the rows of one are in memory at a time
    )
    return _middle(ours - theirs)


def _scores(metric: Metric, rows: Array | RowStore, rng: Rng, draws: int, block: int) -> dict[str, Array]:
    """Scores [draws] by name."""
    if isinstance(rows, RowStore) and not isinstance(metric, OfSums):
        rows = rows.rows
    if not len(rows):
        raise ValueError("there are no rows to draw from")
    if block < 1 or draws < 1:
        raise ValueError(f"block and draws must be at least 1; got {block} and {draws}")
    found = [_score(metric, rows, counts) for counts in _counts(len(rows), draws, block, rng)]
    return {name: np.concatenate([scores[name] for scores in found]) for name in found[0]}


def _score(metric: Metric, rows: Array | RowStore, counts: Array) -> dict[str, Array]:
    if isinstance(rows, RowStore):
        assert isinstance(metric, OfSums), "the rows of any other metric are in memory"
        return metric.of_sums(_sums(rows, counts))
    if isinstance(metric, Weighted):
        return metric.weighted(rows, counts)
    found = [metric.scores(np.repeat(rows, count.astype(np.int64), axis=0)) for count in counts]
    return {name: np.array([scores[name] for scores in found]) for name in found[0]}


def _sums(store: RowStore, counts: Array) -> Array:
    """Column sums [R, k] of the rows of a store, of which row n counts `counts[r, n]` times."""
    sums, first = np.zeros((len(counts), store.width)), 0
    for rows in store.blocks():
        sums += counts[:, first : first + len(rows)] @ rows.astype(np.float64, copy=False)
        first += len(rows)
    return sums


def _counts(size: int, draws: int, block: int, rng: Rng) -> Iterator[Array]:
    """How often each record occurs in each draw, float64 [R, N], some draws at a time."""
    block = max(1, min(block, size // 2))
    per_chunk = max(1, _CHUNK // size)
    for first in range(0, draws, per_chunk):
        counts = np.empty((min(per_chunk, draws - first), size))
        for count in counts:
            _draw(count, block, rng)
        yield counts


def _draw(count: Array, block: int, rng: Rng) -> None:
    """Write how often each of N records occurs in runs of `block` drawn until there are N; the last run is cut short.

    `count`, float64 [N], is all the memory it takes, but for a block of 1.
    """
    size = len(count)
    num_blocks = -(-size // block)
    starts = rng.integers(0, size - block + 1, num_blocks)
    if block == 1:
        count[:] = np.bincount(starts, minlength=size)
        return
    lengths = np.full(num_blocks, block)
    lengths[-1] = size - block * (num_blocks - 1)
    ends = starts + lengths
    count[:] = 0
    np.add.at(count, starts, 1)
    np.subtract.at(count, ends[ends < size], 1)
    np.cumsum(count, out=count)


def _middle(scores: Array) -> Interval:
    defined = scores[~np.isnan(scores)]
    if not len(defined):
        return (float("nan"), float("nan"))
    low, high = np.percentile(defined, TAILS)
    return (float(low), float(high))
