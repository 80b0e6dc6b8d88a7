"""What a tagger is asked, what it answers, and records in which both agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field, field_validator

from anyformer.hints import listed, quoted
from anyformer.task import Data, Record
from anyformer_nlp.tags import words_of


class Words(Data):
    """What is asked."""

    text: str | list[str]
    """A text, or its words. Any length; beyond `Config.context` tokens it is read in windows."""

    @field_validator("text", mode="before")
    @classmethod
    def _words_are_texts(cls, value: Any) -> Any:
        for place, word in enumerate(value if isinstance(value, list) else (), start=1):
            if not isinstance(word, str) or not word:
                raise ValueError(f"word {place} is {quoted(word)}; each must be a text that is not empty")
        return value


class Tags(Data):
    """The true answer."""

    tags: list[Annotated[str, Field(min_length=1)]]
    """One for each word of the text."""


class Found(Data):
    """An entity."""

    text: str
    label: str
    """Its tag without the prefix."""
    start: int
    """Its first character in the text; in that of a list, a space stands between its words."""
    end: int
    """One past its last character."""
    score: float
    """Mean probability of its words' tags."""


class Tagged(Data):
    """What is answered."""

    words: list[str]
    tags: list[str]
    """The most probable tag of each word."""
    scores: list[float]
    """The probability of each."""
    entities: list[Found]
    """In order of the text; none where the tags name none."""


class Agreeing(Sequence[Record[Words, Tags]]):
    """Records that have as many tags as words; `ValueError` names the row of one that has not."""

    def __init__(self, records: Sequence[Record[Words, Tags]], rows: range) -> None:
        self.records, self.rows = records, rows

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Agreeing(self.records[index], self.rows[index])
        record = self.records[index]
        words, tags = words_in(record.input), record.target.tags
        if len(words) != len(tags):
            raise ValueError(
                f"row {self.rows[index] + 1}: 'text' has {len(words)} words and 'tags' {len(tags)}; there must be one for "
                f"each word: {listed(words, 8)}"
            )
        return record


def read(input: Words) -> tuple[str, list[tuple[int, int]]]:
    """The text, and the characters [from, to) of each of its words."""
    if isinstance(input.text, str):
        return input.text, words_of(input.text)
    starts = np.cumsum([0, *(len(word) + 1 for word in input.text)]).tolist()
    return " ".join(input.text), [(start, start + len(word)) for start, word in zip(starts, input.text, strict=False)]


def words_in(input: Words) -> list[str]:
    """The words."""
    if not isinstance(input.text, str):
        return list(input.text)
    return [input.text[start:end] for start, end in words_of(input.text)]
