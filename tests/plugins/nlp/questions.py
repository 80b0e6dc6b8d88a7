"""What the tests of question answering share: a task over bytes, and its options and records."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyformer.task import Sample
from anyformer_nlp.question_answering import QuestionAnswering
from anyformer_nlp.tokenizers import Bytes

RNG = np.random.default_rng(0)
LONG = "".join(chr(ord("a") + place % 26) for place in range(150))


def made(tokenizer: Any = None, **config: Any) -> QuestionAnswering:
    task = QuestionAnswering(QuestionAnswering.Config(**config), {"text": tokenizer or Bytes(Bytes.Config())})
    task.state = task.fit(task.records(QuestionAnswering.examples()))
    return task


def learned(tokenizer: Any) -> Any:
    tokenizer.fit([text for row in QuestionAnswering.examples() for text in (row["question"], row["context"])], RNG)
    return tokenizer


def options(**given: Any) -> QuestionAnswering.Options:
    return QuestionAnswering.Options(**given)


def record_of(task: QuestionAnswering, **row: Any) -> Any:
    return task.records([{"question": "?", "context": LONG, "answers": [], **row}])[0]


def text_of(sample: Sample, context: str, start: int, end: int) -> str:
    """The characters of tokens of `source`, both ends included."""
    spans, at = sample.notes["spans"], sample.notes["at"]
    return context[spans[start - at, 0] : spans[end - at, 1]]
