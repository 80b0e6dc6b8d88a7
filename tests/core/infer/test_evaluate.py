"""Evaluation: an honest verdict beside the baselines, valid JSON, and memory that does not grow with what was answered."""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from anyformer.infer.evaluate import Evaluation, evaluate, json_values, score
from anyformer.infer.pipeline import Pipeline
from anyformer.metrics import Accuracy
from anyformer.task import Data, Metric, Record


class Answer(Data):
    value: float


class Mean(Metric):
    """The mean of what was answered; undefined where an answer is the odd one."""

    names = ("mean", "count")

    def __init__(self, higher_is_better: bool = True) -> None:
        self.higher_is_better = higher_is_better

    def row(self, output: Any, target: Any) -> Sequence[float]:
        return (math.nan if output.value == 13 else output.value,)

    def scores(self, rows: np.ndarray) -> dict[str, float]:
        return {"mean": float(rows.mean()), "count": float(len(rows))}


class Answers:
    """Stands for a pipeline: the model answers with the target plus what it is told."""

    component = "letters/answers"

    def __init__(
        self, gain: Callable[[int], float], metric: Metric | None = None, baselines: dict[str, Any] | None = None,
        temporal: bool = False,
    ) -> None:  # fmt: skip
        self.gain = gain
        plain = {"zero": lambda input: Answer(value=input.value)} if baselines is None else baselines
        self.task = SimpleNamespace(metrics=lambda: [metric or Mean()], baselines=lambda: plain, temporal=temporal)

    def stream(self, inputs: Any, **options: Any) -> Iterator[Answer]:
        for index, input in enumerate(inputs):
            yield Answer(value=input.value + self.gain(index))


def records(count: int, seed: int = 0) -> list[Record[Any, Any]]:
    values = np.random.default_rng(seed).normal(size=count).tolist()
    return [Record(Answer(value=value), Answer(value=value)) for value in values]


def judged(answers: Any, count: int = 60, **given: Any) -> Evaluation:
    return evaluate(answers, records(count), data="numbers", **given)


def test_a_small_gain_on_every_record_is_skill() -> None:
    """Paired: the records differ a hundred times more than the methods do."""
    found = judged(Answers(lambda index: 0.01 + 0.001 * (index % 2)))
    assert found.verdict == "skill"
    assert found.reason.startswith("better than its best baseline: mean differs from 'zero' by +0.01")
    wide = found.scores["mean"]
    assert wide["high"] - wide["low"] > 0.3


def test_a_gain_of_some_records_is_not_shown() -> None:
    found = judged(Answers(lambda index: 0.3 * (-1) ** index))
    assert found.verdict == "no skill"
    assert found.reason.startswith("not shown to be better")


def test_worse_is_said() -> None:
    assert judged(Answers(lambda index: -0.1)).reason.startswith("worse than its best baseline: mean differs")


def test_where_less_is_better() -> None:
    less = Mean(higher_is_better=False)
    assert judged(Answers(lambda index: -0.1, less)).verdict == "skill"
    assert judged(Answers(lambda index: 0.1, less)).verdict == "no skill"


def test_the_best_baseline_counts() -> None:
    methods = {
        "low": lambda input: Answer(value=input.value - 1),
        "best": lambda input: Answer(value=input.value + 0.5),
        "odd": lambda input: Answer(value=13),
    }
    found = judged(Answers(lambda index: 0.2, baselines=methods))
    assert "differs from 'best'" in found.reason
    assert found.verdict == "no skill"
    less = {name: method for name, method in methods.items() if name != "best"}
    first_is_odd = judged(Answers(lambda index: 0.2, baselines=dict(reversed(less.items()))))
    assert "differs from 'low'" in first_is_odd.reason, "a baseline without a score is not the best"
    assert first_is_odd.verdict == "skill"


def test_scores_that_are_not_defined() -> None:
    odd = judged(Answers(lambda index: 13 - records(60)[index].input.value))
    assert (odd.verdict, odd.reason) == ("no skill", "mean of the model is not defined on these records")
    alone = judged(Answers(lambda index: 1.0, baselines={"odd": lambda input: Answer(value=13)}))
    assert alone.verdict == "no skill"
    assert "mean of no baseline is defined" in alone.reason
    for found in (odd, alone):
        values = json.loads(json.dumps(found.as_dict(), allow_nan=False))
        assert values["verdict"] == "no skill"
        again = Evaluation(**values)
        assert "undefined" in str(found)
        assert str(again) == str(found)
    assert odd.as_dict()["scores"]["mean"] == {"value": None, "low": None, "high": None}
    assert odd.as_dict()["scores"]["count"]["value"] == 60
    assert alone.as_dict()["baselines"] == {"odd": {"mean": None, "count": 60}}
    assert math.isnan(odd.scores["mean"]["value"]), "as_dict changes what it gives, not what it is given"


def test_json_values() -> None:
    given = {"a": {"b": math.inf, "c": 1.5}, "d": -math.inf, "e": math.nan, "f": "nan", "g": 3}
    assert json_values(given) == {"a": {"b": None, "c": 1.5}, "d": None, "e": None, "f": "nan", "g": 3}


def test_a_series_is_drawn_in_blocks() -> None:
    """Neighbours that resemble one another are less news than their number."""

    def wave(index: int) -> float:
        return math.sin(index / 20)

    spans = {}
    for temporal in (False, True):
        zeros = [Record(Answer(value=0), Answer(value=0))] * 400
        bounds = evaluate(Answers(wave, temporal=temporal), zeros).scores["mean"]  # type: ignore[arg-type]
        spans[temporal] = bounds["high"] - bounds["low"]
    assert spans[True] > 1.5 * spans[False]


def test_same_seed_same_interval() -> None:
    answers = Answers(lambda index: 0.3 * (-1) ** index)
    assert judged(answers, seed=1) == judged(answers, seed=1)
    assert judged(answers, seed=1).scores != judged(answers, seed=2).scores


def test_nothing_to_evaluate_on() -> None:
    for call in (lambda: judged(Answers(lambda index: 0.0), 0), lambda: score(Answers(lambda index: 0), [])):  # type: ignore
        with pytest.raises(ValueError, match="has no records to evaluate on"):
            call()


def test_progress_is_told() -> None:
    done: list[int] = []
    judged(Answers(lambda index: 0.0), 5, progress=done.append)
    assert done == [1, 2, 3, 4, 5]


def test_a_task_of_words(new_pipeline: Callable[..., Pipeline], letters: Any) -> None:
    asked = new_pipeline("richest")
    rows = letters.words(50, seed=6)
    of_task = asked.task.records(rows)
    found = evaluate(asked, of_task, model="m", data="words", loud=False)
    right = [asked(row).label == row["label"] for row in rows]
    assert found.scores["accuracy"]["value"] == pytest.approx(np.mean(right))
    assert found.baselines["first"]["accuracy"] == pytest.approx(np.mean([r["text"][0] == r["label"] for r in rows]))
    assert score(asked, of_task) == {"accuracy": found.scores["accuracy"]["value"]}
    loud = evaluate(asked, of_task, loud=True)
    assert loud.scores["accuracy"]["value"] == 0.0, "options reach the task"
    assert list(found.as_dict()) == [
        "task", "model", "data", "records", "scores", "baselines", "verdict", "reason"
    ]  # fmt: skip
    assert str(found).splitlines()[0] == "letters/richest on words: 50 records"


def test_memory_holds_rows_and_a_pack(new_pipeline: Callable[..., Pipeline], letters: Any) -> None:
    """Of the records that were answered, only numbers stay."""
    asked = new_pipeline("richest")
    rows = letters.words(40, seed=7) * 25
    alive: list[int] = []

    def look(done: int) -> None:
        if done % 250 == 0:
            kinds = (asked.task.Output, asked.task.Input, Record)
            alive.append(sum(type(found) in kinds for found in gc.get_objects()))

    evaluate(asked, asked.task.records(rows), progress=look)
    assert len(alive) == 4
    assert max(alive) < 4 * 256 + 50, "more than a pack of inputs, records and answers"
    assert alive[-1] <= alive[1] + 50
    assert len(Accuracy().row(letters.Letter(label="a"), letters.Letter(label="a"))) * 4 <= 64
