"""CoNLL files as rows `{"text": words, "tags": tags}`, one for each sentence, by random access.

* A line is a word and its columns, split at tabs, or at runs of spaces where the line has no tab; blank lines stand
  between sentences (Tjong Kim Sang and De Meulder 2003).
* The first column is the word and the last the tag, as in every shared task; `columns` names all of them instead.
* The file is read once, line by line, to note where each sentence begins and to refuse what is no CoNLL; after that a row
  is read from its place, so a file larger than memory costs eight bytes a sentence. A `.gz` file is unpacked to memory.
* `-DOCSTART-` lines are sentences of one word, as conlleval counts them: nothing is left out.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyformer.data.files import BYTE_ORDER_MARK, Content
from anyformer.data.views import Row, RowSequence
from anyformer.hints import listed, quoted
from anyformer.task import Array

_SPACES = re.compile("[ \t]+")


def conll(path: Path, columns: Sequence[str] | None = None) -> Sentences:
    """The sentences of a CoNLL file, plain or `.gz`: `text` and `tags`, or a list of values under each name of `columns`.

    Raises `ValueError`, naming the line, for bytes that are not UTF-8, a line with fewer than two columns, and one with
    other columns than the first; and for an empty file.
    """
    content = Content(path)
    starts, width = index(content)
    if columns is not None and len(columns) != width:
        raise ValueError(f"{path} has {width} columns; {len(columns)} names were given: {listed(list(columns))}")
    places = {"text": 0, "tags": width - 1} if columns is None else {name: place for place, name in enumerate(columns)}
    return Sentences(content, starts, places)


class Sentences(RowSequence):
    """Sentences of a CoNLL file. `starts`, int64 [N + 1], says where each begins and the last one ends.

    `places` says in which column each field of a row stands.
    """

    def __init__(self, content: Content, starts: Array, places: dict[str, int]) -> None:
        self.content, self.starts, self.places = content, starts, places

    def __len__(self) -> int:
        return len(self.starts) - 1

    def row(self, index: int) -> Row:
        """The values of each field, word by word."""
        begin, end = self.starts[index : index + 2].tolist()
        text = self.content.read(begin, end).decode("utf-8")
        words = [_split(line.rstrip("\r")) for line in text.split("\n") if line.strip(" \t\r")]
        return {name: [word[place] for word in words] for name, place in self.places.items()}

    def feed(self, digest: Any) -> None:
        """The file, and how its columns are named."""
        self.content.feed(digest)
        digest.update(repr(sorted(self.places.items())).encode())


def index(content: Content) -> tuple[Array, int]:
    """Where each sentence begins, and where the last one ends, int64 [N + 1]; and how many columns there are."""
    starts = array("q")
    end, width, inside = 0, 0, False
    with content.open() as lines:
        for number, line in enumerate(lines, 1):
            begin, end = end, end + len(line)
            if number == 1 and line.startswith(BYTE_ORDER_MARK):
                begin, line = len(BYTE_ORDER_MARK), line[len(BYTE_ORDER_MARK) :]
            if not line.strip(b" \t\r\n"):
                inside = False
                continue
            if not inside:
                starts.append(begin)
                inside = True
            width = _check(line, width, f"{content.path}, line {number}")
    if not starts:
        raise ValueError(f"{content.path} is empty; a CoNLL file has a line for each word: the word, a tab, its tag")
    starts.append(end)
    return np.array(starts, dtype=np.int64), width


def _check(line: bytes, width: int, where: str) -> int:
    """The number of columns of a line, which must be `width` where that is known."""
    try:
        values = _split(line.decode("utf-8").rstrip("\r\n"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: byte 0x{line[error.start]:02x} is not UTF-8; save the file as UTF-8") from None
    if len(values) < 2:
        raise ValueError(
            f"{where}: a word and its tag are needed, with a tab or spaces between; got {quoted(values[0])}"
        )
    if width and len(values) != width:
        raise ValueError(f"{where} has {len(values)} columns, the lines before it {width}; each needs as many")
    if not all(values):
        raise ValueError(f"{where}: column {values.index('') + 1} is empty; got {quoted(line.decode('utf-8').strip())}")
    return len(values)


def _split(line: str) -> list[str]:
    """The columns of a line."""
    return line.split("\t") if "\t" in line else _SPACES.split(line.strip(" "))
