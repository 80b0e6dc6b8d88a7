"""FASTA files as rows `{"id", "sequence"}`, by random access.

* The file is read once, line by line, to note where each record begins and to refuse what is no FASTA; after that a row is
  read from its place, so a file larger than memory costs eight bytes a record. A `.gz` file is unpacked to memory.
* Records are parsed by Biopython's `SimpleFastaParser`. The id is the title up to the first space; ids may repeat.
* The legal letters are those of the `Protein` tokenizer, which hold the letters of DNA and RNA. Gaps and stops are refused,
  not removed.

Format: Pearson and Lipman 1988, "Improved tools for biological sequence comparison".
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyformer.data.files import BYTE_ORDER_MARK, Content
from anyformer.data.views import Row, RowSequence
from anyformer.task import Array
from anyformer_bio.tokenizers import PROTEIN

COLUMNS = ("id", "sequence")
_LEGAL = (PROTEIN.letters + PROTEIN.letters.lower() + " \r\n").encode("ascii")


def fasta(path: Path, columns: Sequence[str] | None = None) -> FastaRows:
    """The records of a FASTA file, plain or `.gz`, as rows `{"id", "sequence"}`.

    Raises `ValueError` for an empty file, text before the first `>`, a record without sequence, an illegal letter, and for
    `columns`, which a FASTA file has fixed.
    """
    if columns is not None:
        raise ValueError(
            f"{path}: a FASTA file has the columns {' and '.join(COLUMNS)}; to rename one, write columns=field=column"
        )
    content = Content(path)
    return FastaRows(content, index(content))


class FastaRows(RowSequence):
    """Records of a FASTA file. `starts`, int64 [N + 1], says where each begins and the last one ends."""

    def __init__(self, content: Content, starts: Array) -> None:
        self.content, self.starts = content, starts

    def __len__(self) -> int:
        return len(self.starts) - 1

    def row(self, index: int) -> Row:
        """The id and the sequence, joined from its lines, in the letters of the file."""
        from Bio.SeqIO.FastaIO import SimpleFastaParser

        begin, end = self.starts[index : index + 2].tolist()
        title, sequence = next(SimpleFastaParser(io.StringIO(self.content.read(begin, end).decode("utf-8"))))
        return {"id": _name(title), "sequence": sequence}

    def feed(self, digest: Any) -> None:
        """The file."""
        self.content.feed(digest)


def index(content: Content) -> Array:
    """Where each record begins, and where the last one ends: int64 [N + 1].

    Raises `ValueError` naming line, record and letter.
    """
    starts = array("q")
    end, record, filled = 0, "", True
    with content.open() as lines:
        for number, line in enumerate(lines, 1):
            if number == 1 and line.startswith(BYTE_ORDER_MARK):
                end, line = len(BYTE_ORDER_MARK), line[len(BYTE_ORDER_MARK) :]
            where = f"{content.path}, line {number}"
            if line.startswith(b">"):
                if not filled:
                    raise ValueError(f"{where}: the record {record!r} before it has no sequence")
                starts.append(end)
                record, filled = _name(_title(line, where)), False
            elif text := line.rstrip():
                if not starts:
                    raise ValueError(f"{where}: a FASTA record begins with a line '>name'; got {_shown(text)}")
                if illegal := text.translate(None, _LEGAL):
                    raise ValueError(
                        f"{where}: {_shown(illegal[:1])} in record {record!r} is no letter of a sequence; "
                        f"the letters are {PROTEIN.letters}"
                    )
                filled = True
            end += len(line)
    if not starts:
        raise ValueError(f"{content.path} is empty; a FASTA file has records: a line '>name', then lines of sequence")
    if not filled:
        raise ValueError(f"{content.path}: the last record, {record!r}, has no sequence")
    starts.append(end)
    return np.array(starts, dtype=np.int64)


def _title(line: bytes, where: str) -> str:
    try:
        return line[1:].decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: byte 0x{line[error.start + 1]:02x} is not UTF-8; save the file as UTF-8") from None


def _name(title: str) -> str:
    """The first word of a title, or nothing."""
    return next(iter(title.split()), "")


def _shown(text: bytes) -> str:
    shown = text.decode("latin-1")
    return repr(shown[:40]) + ("..." if len(shown) > 40 else "")
