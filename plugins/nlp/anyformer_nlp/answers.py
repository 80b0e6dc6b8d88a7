"""What `nlp/question-answering` takes and gives: a question with its context, true answers, an answer."""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, Field, field_validator

from anyformer.task import Data


class Question(Data):
    """What is asked."""

    question: str = Field(min_length=1)
    """At most half as long as `Config.context`, in tokens."""
    context: str = Field(min_length=1)
    """The text to answer from, of any length."""


class TrueAnswer(Data):
    """One of the answers that are right."""

    text: str = Field(min_length=1)
    start: int = Field(ge=0, validation_alias=AliasChoices("start", "answer_start"))
    """Its first character in the context, from 0."""


class TrueAnswers(Data):
    """All answers that are right."""

    answers: list[TrueAnswer]
    """Empty where the context has no answer. Two columns, `{"text": [...], "answer_start": [...]}`, are taken too."""
    id: str | None = None
    """What the data calls the question."""

    @field_validator("answers", mode="before")
    @classmethod
    def _from_columns(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "text" not in given:
            return given
        starts = given.get("answer_start", given.get("start"))
        texts = list(given["text"])
        if starts is None or len(starts) != len(texts):
            raise ValueError("columns of answers need as many 'answer_start' as 'text'")
        return [{"text": text, "start": int(start)} for text, start in zip(texts, starts, strict=True)]


class Candidate(Data):
    """A piece of the context that may be the answer."""

    answer: str
    start: int
    end: int
    score: float


class Answer(Data):
    """What is answered."""

    answer: str
    """A piece of the context as it stands there; empty if it has no answer."""
    start: int | None
    """Its first character in the context, from 0; None without an answer."""
    end: int | None
    """One past its last character."""
    score: float
    """Probability of what is answered: of this piece, or of no answer."""
    no_answer: float
    """Probability that the context has no answer."""
    candidates: list[Candidate] = []
    """The most probable pieces, the best first, whatever was answered."""
