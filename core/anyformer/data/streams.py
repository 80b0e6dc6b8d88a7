"""Streams: rows that can only be read from the first on, once for each epoch, and may be more than memory or disk hold.

* A stream is a function that returns a fresh iterator. It must give the same rows each time it is called: that is what
  makes an epoch, and what lets a run go on where it stopped. Other rows at the beginning of an epoch, or another number of
  them, stop the run.
* Before a run, a stream is its first block: tokenizers and labels are learned from it, and it is checked. In a run its rows
  come block by block (see `blocks`).
* Held out are the first rows, in every epoch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from anyformer.data.hashing import feed, fingerprint
from anyformer.data.views import Renamed, Row, RowSequence
from anyformer.hints import quoted

BLOCK = 10_000
"""Rows that are shuffled together."""


@dataclass(frozen=True)
class Stream:
    """What a user gives as a stream: `Stream(lambda: read_tweets("2024"), name="tweets")`."""

    make: Callable[[], Iterable[Row]]
    """Returns a fresh iterator, over the same rows each time."""
    name: str = "the stream"
    """What a report and errors call it."""
    block: int = BLOCK
    """Rows that are held in memory and shuffled together; it decides what is learned when."""

    def __post_init__(self) -> None:
        if not callable(self.make):
            raise ValueError(
                f"a stream is made by a function that returns a fresh iterator, Stream(lambda: rows()); got "
                f"{quoted(self.make)}"
            )
        if self.block < 1:
            raise ValueError(f"the block of a stream is a number of rows, 1 or more; got {self.block}")


@dataclass(frozen=True)
class Block:
    """Rows that come one after the other in a stream."""

    epoch: int
    number: int
    first: int
    """The place of its first row in the epoch, held-out rows not counted."""
    rows: Sequence[Row]


class StreamRows(RowSequence):
    """A stream as data. As a sequence it is its first block; `epochs` gives all rows, without end.

    Raises `ValueError` for a stream without rows, and for one that has none beyond those that are held out.
    """

    def __init__(self, stream: Stream, held_out: int = 0, names: Mapping[str, str] | None = None) -> None:
        self.stream, self.held_out, self.names = stream, held_out, dict(names or {})
        self.block = next(self._blocks(), ())
        if not len(self.block):
            if held_out:
                raise ValueError(
                    f"{stream.name} has no more than {held_out:,} rows, which would all be held out; give fewer, valid=100"
                )
            raise ValueError(f"{stream.name} has no rows")

    def __len__(self) -> int:
        return len(self.block)

    def row(self, index: int) -> Row:
        """A row of the first block."""
        return self.block[index]

    def feed(self, digest: Any) -> None:
        """The first block: the rest is known only when it has been read."""
        feed(digest, self.block)

    def renamed(self, names: Mapping[str, str]) -> StreamRows:
        """The stream with columns under other names as well."""
        return StreamRows(self.stream, self.held_out, names)

    def hold_out(self, count: int | None) -> tuple[StreamRows, Sequence[Row]]:
        """The stream without its first `count` rows, and these; None: a tenth of the first block, one at least."""
        assert not self.held_out
        count = max(1, len(self) // 10) if count is None else count
        if count < 1:
            raise ValueError(f"the rows of a stream to hold out are 1 or more; got valid={count}")
        held_out = self._named(list(itertools.islice(self._rows(), count)))
        if not len(held_out) or fingerprint([held_out[0]]) != fingerprint([self.block[0]]):
            raise self._changed("when it was read again")
        return StreamRows(self.stream, count, self.names), held_out

    def where(self, index: int) -> str:
        """The name and the number of a row, for an error."""
        return f"{self.stream.name}, row {self.held_out + index + 1:,}"

    def epochs(self, first: int = 0, size: int | None = None) -> Iterator[Block]:
        """The blocks of epoch `first`, of the next and so on; `size`: the rows of an epoch, if they are known.

        Raises `ValueError` where the stream differs from what it was at first.
        """
        for epoch in itertools.count(first):
            at = 0
            for number, rows in enumerate(self._blocks()):
                if not number and fingerprint(rows) != fingerprint(self.block):
                    raise self._changed(f"in epoch {epoch + 1}")
                yield Block(epoch, number, at, rows)
                at += len(rows)
            if not at:
                raise self._changed(f"in epoch {epoch + 1}")
            if size is not None and at != size:
                raise ValueError(
                    f"{self.stream.name} gave {at + self.held_out:,} rows in epoch {epoch + 1}, and "
                    f"{size + self.held_out:,} before; a stream must give the same rows each time it is read"
                )
            size = at

    def _changed(self, when: str) -> ValueError:
        return ValueError(
            f"{self.stream.name} gave other rows {when} than at first; its function must return a fresh iterator over the "
            "same rows each time"
        )

    def _named(self, rows: Sequence[Row]) -> Sequence[Row]:
        return Renamed(rows, self.names) if self.names else rows

    def _blocks(self) -> Iterator[Sequence[Row]]:
        """The rows of one reading, a list for each block."""
        rows = self._rows()
        while block := list(itertools.islice(rows, self.stream.block)):
            yield self._named(block)

    def _rows(self) -> Iterator[Any]:
        """Rows beyond the held-out ones, each looked at; a `ValueError` of the stream is given the number of the row."""
        made: Any = self.stream.make()
        if not isinstance(made, Iterable):
            raise ValueError(f"{self.stream.name}: its function must return an iterator over rows; got {quoted(made)}")
        rows = iter(made)
        for number in itertools.count(1):
            try:
                row = next(rows)
            except StopIteration:
                return
            except ValueError as error:
                raise ValueError(f"{self.stream.name}, row {number:,}: {error}") from error
            if not isinstance(row, Mapping | BaseModel):
                raise ValueError(
                    f"{self.stream.name}, row {number:,}: a row is a mapping from field to value, {{'text': ...}}; got "
                    f"{quoted(row)}"
                )
            if number > self.held_out:
                yield row
