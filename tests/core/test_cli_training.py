"""The commands that train: what they print, as JSON too, and how they end when they are stopped."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from anyformer.cli import main
from anyformer.metrics import Accuracy
from anyformer.train.engine import Engine

SHORT = "training.steps=1"
Shell = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def shell(
    letters: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    """A function that runs a command beside `words.jsonl`: its exit code, standard output, and lines of standard error."""
    (tmp_path / "words.jsonl").write_text("".join(json.dumps(row) + "\n" for row in letters.words(12)))
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, list[str]]:
        code = main(words)
        found = capsys.readouterr()
        return code, found.out, found.err.splitlines()

    return run


def test_what_a_run_prints(shell: Shell, letters: ModuleType) -> None:
    code, out, errors = shell("finetune", "richest", "--data", "words.jsonl", "--out", "run", SHORT)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("letters/richest on 10% of ")
    assert lines[-1] == "model: run/model   report: run/report.html"
    assert all(line.startswith("letters/richest: ") for line in errors), "progress goes to standard error"
    code, out, _ = shell("resume", "run", "--json")
    found = json.loads(out)
    assert (code, found["run"], found["model"]) == (0, "run", "run/model")
    code, out, _ = shell("evaluate", "richest", "--model", "run", "--data", "words.jsonl", "--json")
    assert list(json.loads(out)) == list(found["evaluation"])
    code, out, _ = shell("finetune", "richest", "--data", "words.jsonl", "--out", "all", "--valid", "none", SHORT)
    assert (code, out) == (0, "model: all/model   report: all/report.html\n")


def test_what_pretraining_prints(shell: Shell) -> None:
    trunk = ["trunk.encoder.width=16", "trunk.encoder.depth=1", "trunk.encoder.attention.heads=2"]
    asked = ["pretrain", "masked-token", "--tokenizer", "letters/fixed", "--data", "words.jsonl", SHORT, *trunk]
    code, out, _ = shell(*asked, "--out", "run")
    assert code == 0
    assert out.startswith("valid/loss: ")
    code, out, _ = shell(*asked, "--out", "other", "--json")
    assert list(json.loads(out)["evaluation"]) == ["valid/loss"]


def test_a_score_that_is_not_defined_is_null_in_json(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Accuracy, "row", lambda *given: (0.0, 0.0))
    code, out, _ = shell("finetune", "richest", "--data", "words.jsonl", "--out", "run", "--json", SHORT)
    assert code == 0
    assert json.loads(out)["evaluation"]["scores"]["accuracy"] == {"value": None, "low": None, "high": None}
    asked = ["evaluate", "richest", "--model", "run", "--data", "words.jsonl"]
    code, out, _ = shell(*asked, "--json")
    found = json.loads(out)
    assert (code, found["verdict"]) == (0, "no skill")
    assert found["baselines"] == {"majority": {"accuracy": None}, "first": {"accuracy": None}}
    code, out, _ = shell(*asked)
    assert (code, "accuracy: undefined" in out) == (0, True)
    code, out, _ = shell("resume", "run")
    assert (code, "accuracy: undefined" in out) == (0, True)


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_by_a_signal(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, expected: int
) -> None:
    """It exits with the signal's code and says how to go on; `resume` then ends it."""
    advance = Engine.advance

    def interrupted(self: Engine) -> Any:
        os.kill(os.getpid(), number)
        return advance(self)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "advance", interrupted)
        code, out, errors = shell("finetune", "richest", "--data", "words.jsonl", "--out", "run")
    assert (code, out) == (expected, "")
    assert errors[-1] == "stopped at step 1; go on with: anyformer resume run"
    code, out, errors = shell("evaluate", "richest", "--model", "run", "--data", "words.jsonl")
    assert (code, out) == (2, "")
    assert errors == ["error: the run run has not finished; go on with: anyformer resume run"]
    code, out, _ = shell("resume", "run")
    assert code == 0
    assert out.endswith("model: run/model   report: run/report.html\n")
