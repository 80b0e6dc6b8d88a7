"""Records of a stream: made from a block of rows, shuffled within it, and found again from one integer.

* The records of a block are what the task makes of its rows, as if they were the whole data. So a row may give one record
  or many (the windows of a text), and no task needs to know of streams. Only what takes a row together with its neighbours,
  such as the cut-offs of a series, is refused.
* The shuffle is a function of (seed, epoch, block). A step is a number of places in the endless sequence of epochs, so a run
  goes on at any step: the stream is read up to there, once through if its length is not known yet.
* Every rank and every worker reads the whole stream and uses its own part of each step. That is simple and exact; a stream
  that is costly to read is better written to files, which are read at random.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from anyformer.data.steps import Draw, block_permutation
from anyformer.data.streams import StreamRows


class Bound(Protocol):
    """A task or an objective."""

    def records(self, raw: Sequence[Any], /) -> Sequence[Any]:
        """Records of rows."""


def records_of(bound: Bound, rows: Sequence[Any]) -> Sequence[Any]:
    """The records of a run's training part, which may be a stream.

    Raises `ValueError` for a stream whose rows cannot be taken apart from one another.
    """
    if not isinstance(rows, StreamRows):
        return bound.records(rows)
    found = StreamRecords(rows, bound.records)
    if getattr(bound, "temporal", False) and not found.one_to_one:
        raise ValueError(
            f"{rows.stream.name} is a stream, and a record here is made of many rows in order of time, which may lie in two "
            "blocks; put the rows in a file"
        )
    return found


def at_hand(records: Sequence[Any]) -> Sequence[Any]:
    """The records that can be read at random before a run begins: all of them, or those of a stream's first block."""
    return records.make(records.rows.block) if isinstance(records, StreamRecords) else records


@dataclass(frozen=True)
class _Made:
    """The records of a block."""

    records: Sequence[Any]
    epoch: int
    block: int
    """Its number in the epoch."""
    first: int
    """The number of its first record in the epoch."""
    place: int
    """The place of its first record in the endless sequence of epochs."""

    @property
    def end(self) -> int:
        """One more than the place of its last record."""
        return self.place + len(self.records)


class StreamRecords(Sequence[Any]):
    """The records of a stream: `records[index]` gives those that its order drew last, by their number in the epoch."""

    def __init__(self, rows: StreamRows, make: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        self.rows, self.make = rows, make
        count = len(make(rows.block))
        if not count:
            raise ValueError(f"{rows.stream.name}: its first {len(rows):,} rows give no record to learn from")
        self.one_to_one = count == len(rows)
        """Whether a row is a record."""
        self._size: tuple[int, int] | None = None  # rows and records of an epoch, once they are known
        self._forget()

    def _forget(self) -> None:
        self._process = os.getpid()
        self._live: list[_Made] = []
        self._coming: Iterator[_Made] = iter(())

    def __len__(self) -> int:
        raise ValueError(f"{self.rows.stream.name} is a stream, so its length is not known; say training.steps=10000")

    def __getitem__(self, index: Any) -> Any:
        for found in reversed(self._live):
            if found.first <= index < found.first + len(found.records):
                place = index - found.first
                try:
                    return found.records[place]
                except ValueError as error:  # it counts the rows of its block
                    raise ValueError(str(error).removeprefix(f"row {place + 1}: ")) from error
        raise AssertionError(f"record {index} of a stream was asked for before its step was drawn")

    def order(self, seed: int, records_per_step: int) -> StreamOrder:
        """The order in which a run takes them (see `steps.order_of`)."""
        return StreamOrder(self, seed, records_per_step)

    def where(self, index: int) -> str:
        """The name of the stream and the number of a record's row, or of the record where rows give several."""
        if self.one_to_one:
            return self.rows.where(index)
        return f"{self.rows.stream.name}, record {index + 1:,}"

    def reach(self, first: int, last: int) -> list[_Made]:
        """The blocks in which the places from `first` to `last` lie; no others stay in memory."""
        if os.getpid() != self._process:  # a fork would share the open file of the process it comes from
            self._forget()
        if not self._live or first < self._live[0].place:
            self._go_to(first)
        while self._end() <= last:
            if self._size is not None and first - self._end() >= self._size[1]:
                self._go_to(first)
            self._live = [made for made in self._live if made.end > first]
            self._live.append(next(self._coming))
        return self._live

    def _end(self) -> int:
        return self._live[-1].end if self._live else -1

    def _go_to(self, place: int) -> None:
        """Read next the epoch in which a place lies, or the first one while their length is not known."""
        self._live = []
        self._coming = self._from(place // self._size[1] if self._size else 0)

    def _from(self, epoch: int) -> Iterator[_Made]:
        """The records of all blocks from the beginning of an epoch on."""
        num_rows, num_records = self._size or (None, 0)
        place, first, rows = epoch * num_records, 0, 0
        for block in self.rows.epochs(epoch, num_rows):
            if block.epoch != epoch:
                self._size = rows, first
                epoch, first = block.epoch, 0
            made = _Made(self.make(block.rows), epoch, block.number, first, place)
            yield made
            place, first, rows = made.end, first + len(made.records), block.first + len(block.rows)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_process": None, "_live": [], "_coming": iter(())}


@dataclass(frozen=True)
class StreamOrder:
    """The endless order of a stream. It reads the stream as it goes; a step that lies behind is reached from the start."""

    records: StreamRecords
    seed: int
    records_per_step: int

    def step(self, step: int) -> list[Draw]:
        """The records of step `step`, counted from 0; until the next is asked for, they are there to be read."""
        first = step * self.records_per_step
        last = first + self.records_per_step - 1
        draws = []
        for made in self.records.reach(first, last):
            order = block_permutation(self.seed, made.epoch, made.block, len(made.records))
            chosen = range(max(first, made.place), min(last + 1, made.end))
            draws += [Draw(made.epoch, made.first + int(order[place - made.place])) for place in chosen]
        return draws
