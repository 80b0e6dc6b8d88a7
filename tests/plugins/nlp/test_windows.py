from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from questions import LONG, RNG, learned, made, options, record_of, text_of

from anyformer_nlp.answers import Question
from anyformer_nlp.tokenizers import NUM_SPECIAL, Bpe, Bytes
from anyformer_nlp.words import Words


def test_a_short_text_is_one_pair_of_segments() -> None:
    task = made()
    (sample,) = task.encode(Question(question="ab", context="cde"), options())
    ids, segments = task.tokens["text"].pair(np.array(list(b"ab")) + NUM_SPECIAL, np.array(list(b"cde")) + NUM_SPECIAL)
    np.testing.assert_array_equal(sample.parts["source"], ids)
    np.testing.assert_array_equal(sample.parts["source_segments"], segments)
    assert {part.dtype for part in sample.parts.values()} == {np.dtype(np.int64)}
    assert (sample.notes["begin"], sample.notes["at"]) == (0, 4)


@pytest.mark.parametrize("size", [1, 30, 57, 58, 59, 76, 77, 150])
@pytest.mark.parametrize("stride", [1, 19, 1000])
def test_every_token_of_a_long_context_is_in_a_window_beside_the_question(size: int, stride: int) -> None:
    context, room = LONG[:size], 64 - 3 - 3
    task = made(context=64, stride=stride)
    samples = task.encode(Question(question="ab?", context=context), options())
    begins = [sample.notes["begin"] for sample in samples]
    assert all(after - before == min(stride, room // 2) for before, after in pairwise(begins))
    assert max(len(sample.parts["source"]) for sample in samples) <= 64
    assert len(samples) == 1 or begins[-2] + room < size <= begins[-1] + room
    for sample in samples:
        at, source = sample.notes["at"], sample.parts["source"]
        assert source[1:4].tolist() == [byte + NUM_SPECIAL for byte in b"ab?"]
        piece = context[sample.notes["begin"] :][:room]
        assert task.tokens["text"].decode(source[at : at + len(piece)]) == piece
        assert len(source) == len(piece) + 6


class Around(Bytes):
    """Special ids as RoBERTa has them, two between the texts, or as T5 has them, none in front."""

    front: list[int] = []
    between: list[int] = []

    def pair(self, first: Any, second: Any) -> Any:
        ids = np.array([*self.front, *first, *self.between, *second, 1], dtype=np.int64)
        return ids, np.zeros_like(ids)

    def num_special(self, pair: bool = False) -> int:
        return len(self.front) + len(self.between) + 1


@pytest.mark.parametrize(("front", "between"), [([0], [1, 1]), ([], [1])], ids=["roberta", "t5"])
def test_the_context_is_found_among_any_special_ids(front: list[int], between: list[int]) -> None:
    tokenizer = Around(Bytes.Config())
    tokenizer.front, tokenizer.between = front, between
    task = made(tokenizer, context=40)
    samples = task.learn(record_of(task, answers=[{"text": "klm", "start": 10}]), RNG)
    assert max(len(sample.parts["source"]) for sample in samples) == 40
    (first, last) = (int(samples[0].targets[edge][0]) for edge in ("start", "end"))
    assert tokenizer.decode(samples[0].parts["source"][first : last + 1]) == "klm"


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (
            "a" * 30,
            "the question 'a{30}' has 30 tokens; at most 29 fit half of context=64: ask in fewer words, or train with",
        ),
        (" ", "the question ' ' has no word or mark that the tokenizer reads"),
    ],
)
def test_a_question_that_cannot_be_read_is_refused(question: str, message: str) -> None:
    task = made(learned(Words(Words.Config(min_frequency=1))) if question == " " else None, context=64)
    task.encode(Question(question="a" * 29, context="b"), options())
    with pytest.raises(ValueError, match=message):
        task.encode(Question(question=question, context="b"), options())


@pytest.mark.parametrize("kind", [Bytes, Bpe, Words])
def test_targets_are_the_answer_in_windows_that_hold_it_and_nothing_in_others(kind: Any) -> None:
    tokenizer = learned(kind(kind.Config(min_frequency=1) if kind is Words else kind.Config()))
    context = "x y z " * 20 + "the Gr\u00f6\u00dfe of  \u5c0f\u7c60\u5305 , " + "z y x " * 20
    text = "Gr\u00f6\u00dfe of  \u5c0f\u7c60\u5305"
    start = context.index(text)
    task = made(tokenizer, context=64, stride=10)
    samples = task.learn(record_of(task, context=context, answers=[{"text": text, "start": start}]), RNG)
    tokens = np.flatnonzero(
        [span[0] < start + len(text) and span[1] > start for span in tokenizer.encode_spans(context)[1]]
    )
    assert len(samples) > 5
    for sample in samples:
        first, last = int(sample.targets["start"][0]), int(sample.targets["end"][0])
        begin = sample.notes["begin"]
        if begin <= tokens[0] and tokens[-1] < begin + len(sample.notes["spans"]):
            assert text_of(sample, context, first, last).strip() == text
        else:
            assert (first, last) == (0, 0)
    assert {len(target) for sample in samples for target in sample.targets.values()} == {1}
    assert any(sample.targets["start"][0] for sample in samples)
    assert not all(sample.targets["start"][0] for sample in samples)
