"""Texts with marks in them: what a filler is asked and answers, records of such texts, and how well marks were filled.

* A row is a text with marks `[MASK]` and, as `hidden`, what each stands for; or a whole text, of which one token is hidden:
  a whole word where the tokenizer has one as a token, and always the same one.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator

from anyformer.hints import quoted
from anyformer.metrics.base import OfSums, ratio
from anyformer.task import Array, Data, Record, validate

MARK = "[MASK]"
"""What a mark looks like, unless a call says otherwise."""
BEFORE, AFTER = "x", "a"
"""Letters that stand for the marks around a part: few words begin with the one, and ` a` is a token wherever spaces are
part of tokens."""
TOP = 5
"""Candidates that `accuracy_at_5` looks at."""


class Gaps(Data):
    """What is asked."""

    text: str
    """A text with one mark or more; each stands for one token."""


class Hidden(Data):
    """The true answer."""

    hidden: Annotated[list[str], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]
    """What each mark stands for, in order; one mark may have a text instead of a list."""


class Candidate(Data):
    """A token that may stand for a mark."""

    token: str
    """As the tokenizer writes it alone: a word may have a space before it, `##` may begin what goes on a word."""
    score: float
    """Its probability among all tokens, special ones included."""


class Gap(Data):
    """What may stand for one mark."""

    candidates: list[Candidate]
    """The most probable first; tokens that stand for no text are left out."""


class Filling(Data):
    """What is answered."""

    text: str
    """The text with the most probable token for each mark."""
    masks: list[Gap]
    """One for each mark, in order."""


class Clozes(Sequence[Record[Gaps, Hidden]]):
    """Rows as records; a whole text is hidden from by the tokenizer when it is read. `ValueError` names the row."""

    def __init__(self, raw: Sequence[Mapping[str, Any]], tokenizer: Any, rows: range | None = None) -> None:
        self.raw, self.tokenizer = raw, tokenizer
        self.rows = range(len(raw)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Clozes(self.raw[index], self.tokenizer, self.rows[index])
        row, where = self.raw[index], f"row {self.rows[index] + 1}"
        given = validate(Gaps, row, where)
        if "hidden" in row or MARK in given.text:
            return self._marked(given, validate(Hidden, row, where), where)
        try:
            return hide(given.text, self.tokenizer)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    def whole(self, index: int) -> str:
        """The whole text of a row, which needs no tokenizer that has learned."""
        row = self.raw[index]
        return whole(self[index]) if "hidden" in row else validate(Gaps, row, f"row {self.rows[index] + 1}").text

    def _marked(self, given: Gaps, hidden: Hidden, where: str) -> Record[Gaps, Hidden]:
        count = given.text.count(MARK)
        if count != len(hidden.hidden) or not count:
            raise ValueError(
                f"{where}: 'text' has {count} {MARK} and 'hidden' {len(hidden.hidden)} texts; there must be one for each, "
                "and one at least"
            )
        return Record(given, hidden)


def hide(text: str, tokenizer: Any) -> Record[Gaps, Hidden]:
    """A record that hides one token of a text. Raises `ValueError` for a text without any."""
    spans = [_trimmed(text, start, end) for start, end in tokenizer.encode_spans(text)[1].tolist()]
    found = [(start, end) for start, end in spans if start < end]
    if not found:
        raise ValueError(f"'text' has no token that could be hidden; leave it out, or write it longer: {quoted(text)}")
    words = [(start, end) for start, end in found if _is_word(text, start, end)]
    chosen = words or found
    start, end = chosen[zlib.crc32(text.encode()) % len(chosen)]
    return Record(Gaps(text=text[:start] + MARK + text[end:]), Hidden(hidden=[text[start:end]]))


def whole(record: Record[Gaps, Hidden]) -> str:
    """The text of a record with nothing hidden."""
    return filled(record.input.text, MARK, record.target.hidden)


def filled(text: str, mark: str, fillings: Sequence[str]) -> str:
    """The text with something for each mark, in order."""
    first, *rest = text.split(mark)
    return first + "".join(filling + part for filling, part in zip(fillings, rest, strict=True))


def ids_around(text: str, mark: str, tokenizer: Any) -> tuple[Array, Array]:
    """Ids of a text, the mask for each mark, int64 [L]; and where the M marks are among them, int64 [M].

    What stands around a mark is read as if a letter stood for it, so that it has the ids it would have in the whole text:
    a space before the mark is part of the token it stands for, where the tokenizer puts spaces there (so does RoBERTa's
    mask), and letters right after it go on its word. Where that cannot be told, a part is read as a text of its own.
    """
    parts = text.split(mark)
    pieces = [_ids_of_part(part, place > 0, place < len(parts) - 1, tokenizer) for place, part in enumerate(parts)]
    marks = np.cumsum([len(piece) + 1 for piece in pieces[:-1]], dtype=np.int64) - 1
    mask = np.array([tokenizer.mask_id], dtype=np.int64)
    return np.concatenate([pieces[0], *(each for piece in pieces[1:] for each in (mask, piece))]), marks


def _ids_of_part(part: str, left: bool, right: bool, tokenizer: Any) -> Array:
    """Ids of a part of a text with a mark to its left, its right, or both."""
    start, stop = int(left), int(left) + len(part)
    text = BEFORE * left + part + AFTER * right
    ids, spans = tokenizer.encode_spans(text)
    inside = ~((left & (spans[:, 1] <= start)) | (right & (spans[:, 0] >= stop)))
    crossing = inside & ((spans[:, 0] < start) | (spans[:, 1] > stop))
    if any(text[max(begin, start) : min(end, stop)].strip() for begin, end in spans[crossing].tolist()):
        return np.asarray(tokenizer.encode(part)["ids"])
    return np.asarray(ids[inside & ~crossing])


class Filled(OfSums):
    """Share of marks whose true token is the most probable, and is among the five most probable; and the perplexity.

    A token is right if it reads as what was hidden does after the tokenizer, spaces around both aside. A true token that
    is not among the candidates counts with an even share of the probability that these leave, so the perplexity is that
    of the answer as it is given; `top` set to null lists every token, and makes it the model's.
    """

    names = ("accuracy", "accuracy_at_5", "perplexity")

    def __init__(self, read: Callable[[str], str], num_tokens: int) -> None:
        """`read` gives a text as it is after the tokenizer; `num_tokens` is how many could be candidates."""
        self.read, self.num_tokens = read, num_tokens

    def row(self, output: Any, target: Any) -> Sequence[float]:
        """Marks, marks right at once, marks right in five, and the sum of the surprise at the true tokens in nats."""
        if len(output.masks) != len(target.hidden):
            raise ValueError(f"{len(output.masks)} marks were filled and {len(target.hidden)} hidden; they must agree")
        ranks, surprise = [], 0.0
        for gap, hidden in zip(output.masks, target.hidden, strict=True):
            true = self.read(hidden).strip()
            scores = {place: each.score for place, each in enumerate(gap.candidates) if each.token.strip() == true}
            left = 1 - sum(each.score for each in gap.candidates)
            share = left / max(1, self.num_tokens - len(gap.candidates))
            ranks.append(min(scores, default=math.inf))
            # Several tokens may read alike, with a space before and without: their probabilities add up.
            surprise -= math.log(max(sum(scores.values()) if scores else share, 1e-12))
        return (len(ranks), sum(rank < 1 for rank in ranks), sum(rank < TOP for rank in ranks), surprise)

    def of_sums(self, sums: Array) -> dict[str, Array]:
        """Each over the marks."""
        marks, first, five, surprise = sums.T
        return {
            "accuracy": ratio(first, marks),
            "accuracy_at_5": ratio(five, marks),
            "perplexity": np.exp(ratio(surprise, marks)),
        }


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without the spaces at its ends."""
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


def _is_word(text: str, start: int, end: int) -> bool:
    """Whether a span is letters and digits, and none stand next to it."""
    around = text[max(0, start - 1) : start] + text[end : end + 1]
    return text[start:end].isalnum() and not any(character.isalnum() for character in around)
