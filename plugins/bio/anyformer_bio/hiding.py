"""Proteins with hidden residues: how they are written, how plain proteins become such rows, and how answers are scored."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anyformer.data.views import Row, RowSequence
from anyformer.metrics import OfSums
from anyformer.metrics.base import ratio
from anyformer.task import Array, Record
from anyformer_bio.esm_tokenizer import LETTERS, MASK
from anyformer_bio.tokenizers import Alphabet

HIDDEN = Alphabet("protein", "residues", LETTERS + MASK)
"""Residues, and the sign for a hidden one."""
WHOLE = Alphabet("protein", "residues", LETTERS)


def hidden(text: str) -> str:
    """The protein as the model reads it; raises `ValueError` for an illegal letter, and where nothing is hidden."""
    sequence = HIDDEN.clean(text.replace("<mask>", MASK))
    if MASK not in sequence:
        raise ValueError(f"no residue is hidden; write {MASK} or <mask> for each residue that is to be found")
    return sequence


def places_of(sequence: str) -> Array:
    """Hidden places, int64 [N]."""
    return np.flatnonzero(HIDDEN.ids(sequence) == len(LETTERS))


class Hiding(RowSequence):
    """Rows in which residues of a whole protein are hidden, the same ones whenever it is read."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], rate: float) -> None:
        self.rows, self.rate = rows, rate

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, index: int) -> Row:
        """A whole protein as `filled` and, with places hidden, as `sequence`; any other row as it is."""
        row = self.rows[index]
        if "filled" in row or not isinstance(row.get("sequence"), str):
            return row
        try:
            whole = WHOLE.clean(row["sequence"])
        except ValueError:
            return row  # the input's own check says what is wrong with it, and names the row
        rng = np.random.default_rng(zlib.crc32(whole.encode("ascii")))
        hide = rng.random(len(whole)) < self.rate
        hide[rng.integers(len(whole))] |= not hide.any()
        return {**row, "sequence": HIDDEN.text(np.where(hide, len(LETTERS), WHOLE.ids(whole))), "filled": whole}


def check(record: Record[Any, Any]) -> None:
    """Raise `ValueError` where a protein and its hidden form are not the same protein."""
    seen, whole = HIDDEN.ids(record.input.sequence), WHOLE.ids(record.target.filled)
    if len(seen) != len(whole):
        raise ValueError(f"sequence has {len(seen)} residues and filled {len(whole)}; they must agree")
    wrong = (seen != whole) & (seen < len(LETTERS))
    if wrong.any():
        place = int(np.argmax(wrong))
        raise ValueError(
            f"residue {place + 1} is {LETTERS[seen[place]]!r} in sequence and {LETTERS[whole[place]]!r} in filled; "
            "they may differ only where sequence hides a residue"
        )


class HiddenResidues(OfSums):
    """Hidden residues that are found, among the first and the first five candidates; the perplexity of the true ones.

    Where `top` leaves a true residue without a probability, the perplexity is not defined.
    """

    names = ("accuracy", "accuracy@5", "perplexity")

    def row(self, output: Any, target: Any) -> Sequence[float]:
        """How many were hidden, found at once, found among five, and the sum of the true residues' -log probability."""
        ranked = [(list(place.candidates), target.filled[place.place]) for place in output.places]
        given = [place.candidates.get(true, np.nan) for place, (_, true) in zip(output.places, ranked, strict=True)]
        at_once, among_five = (sum(true in found[:count] for found, true in ranked) for count in (1, 5))
        surprise = -np.log(np.maximum(given, np.finfo(float).tiny)).sum()
        return (float(len(ranked)), float(at_once), float(among_five), float(surprise))

    def of_sums(self, sums: Array) -> dict[str, Array]:
        """Sums over how many."""
        first, five, surprise = (ratio(sums[:, column], sums[:, 0]) for column in (1, 2, 3))
        return {"accuracy": first, "accuracy@5": five, "perplexity": np.exp(surprise)}
