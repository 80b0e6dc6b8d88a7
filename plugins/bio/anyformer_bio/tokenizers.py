"""Tokenizers of proteins and DNA: one token a letter, so that outputs align with residues and bases.

| tokenizer | raw data                             | ids, in this order                                      |
|-----------|--------------------------------------|---------------------------------------------------------|
| `Protein` | a protein as text                    | `ACDEFGHIKLMNPQRSTVWY` `BZXUO` mask start end           |
| `Dna`     | DNA or RNA as text                   | `ACGT` `RYSWKMBDHVN` mask start end                     |
| `Gene`    | `{"dna": text, "table": a number}`   | as `Dna`, then a token for each genetic code of `TABLES` |

* Nothing is learned: the alphabets are those of IUPAC, so `fit` has nothing to do and every model reads the same ids.
* Lower case is read as upper case, U of RNA as T, and white space is dropped, because sequences are pasted in lines. Nothing
  else is repaired: a gap or a stop sign is an error that names the letter and its place.
* No start or end token is added. Their ids exist for objectives that want them.

Letters: IUPAC-IUB 1970 (bases) and IUPAC-IUBMB 1983 with U and O for the 21st and 22nd residue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import Field

from anyformer.task import Array, Frozen, Tokenizer

TABLES = (*range(1, 7), *range(9, 17), *range(21, 34))
"""Numbers of the genetic codes that NCBI lists; 7, 8 and 17 to 20 were withdrawn or never given."""


@dataclass(frozen=True)
class Alphabet:
    """The letters of a kind of sequence; the index of a letter is its id."""

    kind: str
    """What the sequence is, for messages."""
    unit: str
    """What a letter stands for, in the plural."""
    letters: str
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Letters read as another one."""

    @cached_property
    def _table(self) -> Array:
        """ASCII code to id, -1 where the letter is illegal; the last row stands for everything beyond ASCII."""
        table = np.full(129, -1, dtype=np.int64)
        for index, letter in enumerate(self.letters):
            table[[ord(letter), ord(letter.lower())]] = index
        for given, letter in self.aliases.items():
            table[[ord(given), ord(given.lower())]] = self.letters.index(letter)
        return table

    def ids(self, text: Any) -> Array:
        """Ids of the letters, int64 [L], white space dropped.

        Raises `ValueError` if `text` is no text, is empty, or holds an illegal letter.
        """
        if not isinstance(text, str):
            raise ValueError(f"a {self.kind} sequence is text; got {type(text).__name__}")
        text = "".join(text.split())
        if not text:
            raise ValueError(f"the {self.kind} sequence is empty; give at least one of the letters {self.letters}")
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        ids = self._table[np.minimum(codes, 128)]
        if ids.min() < 0:
            place = int(np.argmax(ids < 0))
            raise ValueError(
                f"{text[place]!r} at position {place + 1} is no letter of a {self.kind} sequence; "
                f"the letters are {self.letters}"
            )
        return ids

    def clean(self, text: Any) -> str:
        """The text as the model reads it: upper case, aliases resolved, no white space. Raises as `ids` does."""
        return self.text(self.ids(text))

    def text(self, ids: Array) -> str:
        """Ids of letters [L] back to text."""
        codes = np.frombuffer(self.letters.encode("ascii"), dtype=np.uint8)
        return codes[ids].tobytes().decode("ascii")


PROTEIN = Alphabet("protein", "residues", "ACDEFGHIKLMNPQRSTVWYBZXUO")
DNA = Alphabet("DNA", "bases", "ACGTRYSWKMBDHVN", aliases={"U": "T"})


class _Letters(Tokenizer):
    """What the tokenizers of this page share: an alphabet, then the ids of mask, start and end."""

    class Config(Frozen):
        """What a user may set."""

        longest: int = Field(default=100_000, ge=1)
        """A sequence with more letters is refused; it is never cut."""

    alphabet: Alphabet
    unknown: str
    """The letter that a mask is read back as."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.longest = config.longest
        self.mask_id, self.start_id, self.end_id = (len(self.alphabet.letters) + i for i in range(3))
        self.vocabulary_size = self.end_id + 1
        self.special_ids = frozenset((self.mask_id, self.start_id, self.end_id))

    def letter_ids(self, text: Any) -> Array:
        """Ids of the letters, int64 [L]. Raises `ValueError` for illegal text and for more than `longest` letters."""
        ids = self.alphabet.ids(text)
        if len(ids) > self.longest:
            raise ValueError(
                f"the {self.alphabet.kind} sequence has {len(ids):,} {self.alphabet.unit}; "
                f"at most {self.longest:,} are read (the tokenizer's `longest`); cut it into parts"
            )
        return ids

    def letter_text(self, ids: Array) -> str:
        """Ids back to letters: a mask becomes the unknown letter, other special tokens are left out."""
        ids = np.asarray(ids)
        ids = np.where(ids == self.mask_id, self.alphabet.letters.index(self.unknown), ids)
        return self.alphabet.text(ids[ids < len(self.alphabet.letters)])


class Protein(_Letters):
    """Proteins: the 20 standard residues, B (N or D), Z (Q or E), X (unknown), U (selenocysteine), O (pyrrolysine)."""

    alphabet = PROTEIN
    unknown = "X"

    def encode(self, raw: Any) -> dict[str, Array]:
        """A protein as text to `{"ids": int64 [L]}`, one token a residue."""
        return {"ids": self.letter_ids(raw)}

    def decode(self, ids: Array, final: bool = True) -> str:
        """Ids [L] to the protein as text."""
        return self.letter_text(ids)


class Dna(_Letters):
    """DNA, or RNA read as DNA: A, C, G, T, and the eleven letters of IUPAC that stand for several bases, N for any."""

    alphabet = DNA
    unknown = "N"

    def encode(self, raw: Any) -> dict[str, Array]:
        """DNA as text to `{"ids": int64 [L]}`, one token a base."""
        return {"ids": self.letter_ids(raw)}

    def decode(self, ids: Array, final: bool = True) -> str:
        """Ids [L] to DNA as text."""
        return self.letter_text(ids)


class Gene(_Letters):
    """A coding sequence behind a token that names its genetic code."""

    alphabet = DNA
    unknown = "N"

    def __init__(self, config: _Letters.Config) -> None:
        super().__init__(config)
        self.first_table_id = self.vocabulary_size
        self.vocabulary_size += len(TABLES)
        self.special_ids |= frozenset(range(self.first_table_id, self.vocabulary_size))

    def encode(self, raw: Any) -> dict[str, Array]:
        """`{"dna": text, "table": number}` to `{"ids": int64 [1 + L]}`: the token of the table, then the bases."""
        table_id = self.first_table_id + TABLES.index(known_table(raw["table"]))
        return {"ids": np.concatenate([[table_id], self.letter_ids(raw["dna"])])}

    def decode(self, ids: Array, final: bool = True) -> dict[str, Any]:
        """Ids [1 + L] to `{"dna": text, "table": number}`."""
        ids = np.asarray(ids)
        return {"dna": self.letter_text(ids[1:]), "table": TABLES[int(ids[0]) - self.first_table_id]}


def known_table(number: int) -> int:
    """The number itself if NCBI lists a genetic code under it; raises `ValueError` with the list otherwise."""
    if number not in TABLES:
        raise ValueError(
            f"there is no genetic code {number}; NCBI lists {', '.join(map(str, TABLES))} (1 is the standard code)"
        )
    return number
