"""A precision asked for: of a pipeline, of an evaluation beside fp32, and in the shell."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from anyformer import api
from anyformer.cli import main
from anyformer.infer.evaluate import Evaluation, evaluate
from anyformer.infer.prepare import PRECISIONS
from anyformer.metrics import Accuracy
from anyformer.task import Data, Metric, Record

LOW = [name for name in PRECISIONS if name != "fp32"]


@pytest.fixture
def data(letters: ModuleType, tmp_path: Path) -> str:
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in letters.words(40, seed=3)))
    return str(path)


# -- Python


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_pipeline_at_a_precision(saved: Path, precision: str) -> None:
    plain, ready = api.pipeline(model=saved), api.pipeline(model=saved, precision=precision)
    assert "Packed" in str(ready.model)
    assert "Packed" not in str(plain.model)
    true, found = plain(text="abba"), ready(text="abba")
    assert found.label in "abcd"
    assert found.model_dump() == pytest.approx(true.model_dump(), abs=1e-5) or precision != "fp32"


@pytest.mark.parametrize("precision", LOW)
def test_a_low_precision_is_scored_beside_fp32(
    saved: Path, data: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Mock(wraps=api.load)
    monkeypatch.setattr(api, "load", load)
    found = api.evaluate(model=saved, data=data, precision=precision)
    assert load.call_count == 1, "one model is read, whatever stands beside it"
    assert found.precision is not None
    plain = api.evaluate(model=saved, data=data)
    fp32 = {metric: score["value"] for metric, score in plain.scores.items()}
    assert found.precision["beside"] == {"fp32": pytest.approx(fp32)}
    assert found.precision["name"] == precision
    assert list(found.precision["seconds"]) == ["fp32", precision]
    assert all(seconds > 0 for seconds in found.precision["seconds"].values())
    assert found.baselines == plain.baselines, "fp32 is no baseline"
    assert "precision" not in plain.as_dict()


def test_fp32_stands_alone(saved: Path, data: str) -> None:
    found = api.evaluate(model=saved, data=data, precision="fp32")
    assert found.precision is not None
    assert list(found.precision) == ["name", "seconds"]
    assert found.scores == api.evaluate(model=saved, data=data).scores
    assert str(found).splitlines()[-1].startswith("  time: fp32 ")


def test_a_precision_that_is_not_known(saved: Path, data: str) -> None:
    said = "^unknown precision 'int-8' .did you mean 'int8'..; there are: fp32, bf16, int8, fp16-weights$"
    with pytest.raises(ValueError, match=said):
        api.pipeline(model=saved, precision="int-8")
    with pytest.raises(ValueError, match=said):
        api.evaluate(model=saved, data=data, precision="int-8")


# -- two models in step


class Label(Data):
    label: str


class Clock:
    """Stands for the module `time`, and goes on when it is told."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(sys.modules[evaluate.__module__], "time", found)
    return found


class Slow:
    """Stands for a pipeline that answers "a" in packs of five, wrong at the places given, and takes its time."""

    component = "letters/slow"

    def __init__(self, clock: Clock, wrong: set[int], seconds: float) -> None:
        self.clock, self.wrong, self.seconds, self.taken = clock, wrong, seconds, 0
        metrics: list[Metric] = [Accuracy()]
        self.task = SimpleNamespace(
            metrics=lambda: metrics, baselines=lambda: {"never": lambda input: Label(label="b")}, temporal=False
        )

    def stream(self, inputs: Any, **options: Any) -> Iterator[Label]:
        pack: list[int] = []
        for place, _ in enumerate(inputs):
            self.taken += 1
            if len(pack) == 5:
                yield from self.answers(pack)
                pack = []
            pack.append(place)
        yield from self.answers(pack)

    def answers(self, places: list[int]) -> Iterator[Label]:
        self.clock.now += self.seconds
        return (Label(label="b" if place in self.wrong else "a") for place in places)


class Reading(list[Record[Any, Any]]):
    """Twenty records that take longer to read than to answer."""

    def __init__(self, clock: Clock) -> None:
        super().__init__([Record(Label(label="a"), Label(label="a"))] * 20)
        self.clock = clock

    def __iter__(self) -> Iterator[Record[Any, Any]]:
        for record in super().__iter__():
            self.clock.now += 10
            yield record


def test_the_difference_is_of_the_same_records_and_the_time_is_of_answering(clock: Clock) -> None:
    low, wide = Slow(clock, {3, 9}, 2), Slow(clock, {3}, 5)
    found = evaluate(low, Reading(clock), precision="int8", wide=wide).as_dict()["precision"]
    assert found["beside"] == {"fp32": {"accuracy": 0.95}}
    assert found["difference"].pop("metric") == "accuracy"
    assert found["difference"]["value"] == pytest.approx(-0.05)
    assert found["difference"]["low"] < -0.05 < found["difference"]["high"] <= 0
    assert low.taken == wide.taken == 21, "each record once, and the first to warm up"
    assert found["seconds"] == {"fp32": 20, "int8": 8}, "four packs; reading took 200"


def test_the_same_answers_differ_by_nothing(clock: Clock) -> None:
    found = evaluate(Slow(clock, {3}, 1), Reading(clock), precision="int8", wide=Slow(clock, {3}, 1))
    assert found.precision is not None
    assert found.precision["difference"] == {"metric": "accuracy", "value": 0.0, "low": 0.0, "high": 0.0}
    text = str(found).splitlines()
    assert text[2] == "    fp32      0.9500  (int8 differs by +0.0000)"
    assert text[-2] == "  int8 beside fp32: accuracy +0.0000  (95 %: +0.0000 to +0.0000)"
    assert str(Evaluation(**found.as_dict())) == str(found)


# -- the shell


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        found = capsys.readouterr()
        return code, found.out, found.err

    return run


def test_the_shell_takes_a_precision(shell: Callable[..., tuple[int, str, str]], saved: Path, data: str) -> None:
    code, out, _ = shell("run", "richest", "text=abba", "--model", str(saved), "--precision", "bf16", "--json")
    assert (code, json.loads(out)["label"] in "abcd") == (0, True)
    asked = ["evaluate", "richest", "--model", str(saved), "--data", data]
    code, out, _ = shell(*asked, "--precision", "int8", "--json")
    found = json.loads(out)
    assert (code, found["precision"]["name"]) == (0, "int8")
    assert list(found["precision"]["beside"]["fp32"]) == list(found["scores"])
    code, out, _ = shell(*asked, "--precision", "int8")
    assert code == 0
    assert "(int8 differs by " in out
    assert "  time: fp32 " in out.splitlines()[-1]
    code, out, error = shell(*asked, "--precision", "int4")
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert error.startswith("error: unknown precision 'int4' (did you mean 'int8'?)")


@pytest.mark.parametrize("command", ["run", "evaluate"])
def test_the_help_names_every_precision(shell: Callable[..., tuple[int, str, str]], command: str) -> None:
    code, out, _ = shell(command, "--help")
    assert code == 0
    assert all(name in out for name in PRECISIONS)
