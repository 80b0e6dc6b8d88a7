"""Pipelines: answers in order, alone or in company, and bad input that is told apart."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from anyformer.infer import pipeline as pipelines
from anyformer.infer.pipeline import Pipeline
from anyformer.task import Prediction

NewPipeline = Callable[..., Pipeline]


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the tests look at the message
        call()
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.fixture
def richest(new_pipeline: NewPipeline, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A pipeline that answers with the bits of its logits, so that nothing is hidden by an argmax."""
    found = new_pipeline("richest")

    def decode(input: Any, samples: Any, predictions: list[Prediction], options: Any) -> Any:
        return input.text, predictions[0].values["logits"]

    monkeypatch.setattr(found.task, "decode", decode)
    return found


@pytest.mark.parametrize("tokens", [1, 7, 30, 10**6])
def test_answers_come_in_order_whoever_shares_the_pack(richest: Pipeline, letters: ModuleType, tokens: int) -> None:
    rows = letters.words(40, seed=5, longest=30)
    alone = [richest(text=row["text"]) for row in rows]
    together = list(richest.stream(rows, tokens=tokens))
    assert [text for text, _ in together] == [row["text"] for row in rows]
    for (_, ours), (_, theirs) in zip(together, alone, strict=True):
        assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()


def test_packs_keep_the_budget(new_pipeline: NewPipeline, letters: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = new_pipeline("richest")
    packs: list[list[int]] = []
    solve = asked._solve

    def seen(model: Any, component: str, samples: Any, *given: Any) -> Any:
        packs.append([sample.cost for sample in samples])
        return solve(model, component, samples, *given)

    monkeypatch.setattr(asked, "_solve", seen)
    monkeypatch.setattr(pipelines, "ITEMS", 5)
    rows = letters.words(40, seed=5)
    list(asked.stream([*rows, {"text": "a" * 50}], tokens=30))
    assert [cost for pack in packs for cost in pack] == [len(row["text"]) + 1 for row in rows] + [51]
    assert all(sum(pack) <= 30 or len(pack) == 1 for pack in packs)
    assert max(len(pack) for pack in packs) == 5
    assert packs[-1] == [51]


def test_an_iterator_is_taken_a_pack_at_a_time(richest: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines, "ITEMS", 4)
    taken = 0

    def endless() -> Iterator[dict[str, str]]:
        nonlocal taken
        while True:
            taken += 1
            yield {"text": "abc"}

    answers = richest.stream(endless())
    for number in range(1, 30):
        next(answers)
        assert taken <= 4 * -(-number // 4) + 1


def test_ways_to_ask(new_pipeline: NewPipeline) -> None:
    asked = new_pipeline("richest")
    one = asked(text="abba").label
    assert asked({"text": "abba"}).label == one
    assert asked({"text": "abba", "label": "x", "other": 3}).label == one, "a row may have columns it does not need"
    assert asked(asked.task.Input(text="abba")).label == one
    assert [answer.label for answer in asked([{"text": "abba"}] * 2)] == [one, one]
    assert asked(iter([])) == []
    assert asked(text="abba", loud=True).label == one.upper()
    assert asked([{"text": "abba"}], loud=True)[0].label == one.upper()


@pytest.mark.parametrize(
    ("given", "named", "said"),
    [
        (["ab"], {}, "input 1: an input of letters/richest is a mapping with: text; got 'ab'"),
        ("ab", {}, "an input of letters/richest is a mapping with: text; got 'ab'"),
        (7, {}, "an input of letters/richest is a mapping with: text; got 7"),
        ([{"text": "ab"}, {"txt": "ab"}], {}, "input 2: 'text' is missing; given: 'txt'"),
        ({"text": 5}, {}, "input 1: 'text': Input should be a valid string (given: 5)"),
        ({"text": ""}, {}, "input 1: 'text': String should have at least 1 character (given: '')"),
        ({"text": "a?"}, {}, "input 1: '?' is no letter of 'abcd'"),
        (None, {}, "input 1: 'text' is missing; given: nothing"),
        (None, {"txt": "ab"}, "unknown field 'txt' (did you mean 'text'?); an input of letters/richest has: text; "
                              "the options of letters/richest are: loud"),
        (None, {"text": "ab", "lowd": 1}, "unknown field 'lowd' (did you mean 'loud'?); "),
        ({"text": "ab"}, {"text": "ab"}, "unknown option 'text'; the options of letters/richest are: loud"),
        ({"text": "ab"}, {"loud": "very"}, "options of letters/richest: 'loud': Input should be a valid boolean"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(new_pipeline: NewPipeline, given: Any, named: dict[str, Any], said: str) -> None:
    asked = new_pipeline("richest")
    assert refused(lambda: asked(given, **named) if given is not None else asked(**named)).startswith(said)


def test_answers_before_a_bad_input_are_given_first(new_pipeline: NewPipeline) -> None:
    answers = new_pipeline("richest").stream([{"text": "ab"}, {"text": "cd"}, {"text": "?"}, {"text": "a"}])
    assert [next(answers).label, next(answers).label]
    assert refused(lambda: next(answers)) == "input 3: '?' is no letter of 'abcd'"


def test_errors_in_the_place_of_answers(new_pipeline: NewPipeline) -> None:
    """Whether the input is no input, the tokenizer refuses it, the model cannot take it or its answer fails."""
    learned = ("trunk.encoder.position.kind=learned", "trunk.encoder.position.length=5")
    asked = new_pipeline("richest", *learned, rows=[{"text": "abcd", "label": label} for label in "ab"])
    decode = asked.task.decode

    def broken(input: Any, *given: Any) -> Any:
        if input.text == "dd":
            raise ValueError("no answer to that")
        return decode(input, *given)

    asked.task.decode = broken  # type: ignore[method-assign]
    inputs = [{"text": "ab"}, 7, {"text": "a?"}, {"text": "abcdab"}, {"text": "dd"}, {"text": "abc"}]
    for tokens in (1, 10**6):
        answers = list(asked.stream(inputs, errors="return", tokens=tokens))
        assert [type(answer).__name__ for answer in answers] == ["Letter", *["ValueError"] * 4, "Letter"]
        assert [str(answer) for answer in answers[1:5]] == [
            "input 2: an input of letters/richest is a mapping with: text; got 7",
            "input 3: '?' is no letter of 'abcd'",
            "input 4: a sequence reaches 7 tokens; the model has 5 learned positions (position.length)",
            "input 5: no answer to that",
        ]
    strict = asked.stream([inputs[0], inputs[3], inputs[5]])
    assert next(strict).label
    assert refused(lambda: next(strict)).startswith("input 2: a sequence reaches 7 tokens")


def test_objective_has_no_answers(new_pipeline: NewPipeline) -> None:
    asked = new_pipeline("richest")
    asked.model.components["next-token"] = asked.model["letters/richest"]
    asked.model["next-token"].task = object()  # type: ignore[assignment]
    message = "'next-token' is a pretraining objective; fine-tune it for a task first"
    with pytest.raises(ValueError, match=re.escape(message)):
        Pipeline(asked.model, "next-token")


def test_tokens(new_pipeline: NewPipeline) -> None:
    """Pieces whose text only grows, and a last one that is the answer of a call; nothing is computed that is not read."""
    asked = new_pipeline("reverse")
    whole = asked(text="abcd", max_new_tokens=6)
    pieces = list(asked.tokens(text="abcd", max_new_tokens=6))
    assert pieces[-1].output == whole
    assert [piece.final for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert "".join(piece.added for piece in pieces) == whole.backwards
    for before, piece in pairwise(pieces):
        assert piece.output.backwards == before.output.backwards + piece.added
    drawn = {"sample": True, "seed": 3, "max_new_tokens": 6}
    assert list(asked.tokens({"text": "abcd"}, **drawn))[-1].output == asked(text="abcd", **drawn)
    steps: list[Any] = []
    asked.model["letters/reverse"].head.register_forward_hook(lambda *_: steps.append(1))
    next(asked.tokens(text="abcd", max_new_tokens=50, min_new_tokens=50))
    assert len(steps) == 1


def test_tokens_are_refused_in_one_line(new_pipeline: NewPipeline) -> None:
    asked = new_pipeline("reverse")
    assert refused(lambda: next(asked.tokens(text="ab", num_beams=2))).startswith(
        "num_beams=2 cannot be shown as it writes"
    )
    assert refused(lambda: next(asked.tokens(text="a?"))) == "input 1: '?' is no letter of 'abcd'"
    assert refused(lambda: next(asked.tokens(txt="ab"))).startswith("unknown field 'txt'")
    assert refused(lambda: next(asked.tokens({"text": "ab"}, lowd=1))).startswith("unknown option 'lowd'")
    once = new_pipeline("richest")
    assert refused(lambda: next(once.tokens(text="ab"))) == (
        "letters/richest answers at once, not token by token; ask for the whole answer"
    )
