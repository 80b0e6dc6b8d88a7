"""Lines of a text file by random access: an index of eight bytes a record, and a record read when it is asked for.

* The file is read once, to note where its lines begin and to refuse what is not UTF-8.
* A line ends in a newline, with or without a carriage return; a byte order mark is skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anyformer.data.files import BYTE_ORDER_MARK, Content
from anyformer.task import Array


class Lines(Sequence[str]):
    """The records of a text file as text, by random access, without the line's end.

    `starts`, uint64 [N + 1], says where each record begins and the last one ends.
    """

    def __init__(self, content: Content, starts: Array) -> None:
        self.content, self.starts = content, starts

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            begin, end, step = index.indices(len(self))
            if step != 1:
                return [self[place] for place in range(begin, end, step)]
            return Lines(self.content, self.starts[begin : max(begin, end) + 1])
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        place = index % len(self)
        begin, end = self.starts[place : place + 2].tolist()
        return self.content.read(begin, end).decode("utf-8").rstrip("\r\n")

    def where(self, index: int) -> str:
        """The file and the line of a record, for an error."""
        return f"{self.content.path}, line {self.content.line_number(int(self.starts[index]))}"

    def feed(self, digest: Any) -> None:
        """Add the file's bytes, and which of its records these are, to a hash."""
        self.content.feed(digest)
        digest.update(self.starts[[0, -1]].tobytes())


def index_lines(content: Content, blank: bool = True) -> Lines:
    """The lines of a file; with `blank=False`, empty lines are no records.

    Raises `ValueError` for an empty file, and for bytes that are not UTF-8, naming the line.
    """
    pieces, count = [], 0
    for position, block in content.blocks():
        _check_text(content, block, count)
        values = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(values == ord("\n")) + 1
        count += len(ends)
        if not block.endswith(b"\n"):
            ends = np.append(ends, len(block))
        begins = np.concatenate([[0], ends[:-1]])
        if not blank:
            # The line's end may be "\n" or "\r\n"; a last line without an end is not empty.
            lengths, last = ends - begins, values[ends - 1] == ord("\n")
            begins = begins[~(last & ((lengths == 1) | ((lengths == 2) & (values[begins] == ord("\r")))))]
        pieces.append((begins + position).astype(np.uint64))
    starts = np.concatenate([*pieces, np.array([len(content)], np.uint64)])
    if len(starts) > 1 and starts[0] == 0 and content.read(0, min(3, len(content))) == BYTE_ORDER_MARK:
        starts[0] = 3
    if len(starts) == 1 or starts[0] == starts[-1]:
        raise ValueError(f"{content.path} is empty")
    return Lines(content, starts)


def _check_text(content: Content, block: bytes, lines_before: int) -> None:
    try:
        block.decode("utf-8")
    except UnicodeDecodeError as error:
        line = lines_before + block.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{content.path}, line {line}: byte 0x{block[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from None
