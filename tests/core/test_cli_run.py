"""`anyformer run --stream`: the answer of a run without it, piece by piece, and what it is refused for."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anyformer import api
from anyformer.cli import main
from anyformer_nlp.translation import Translation

TASK = "nlp/translation"
TEXT = "thé 小\n籠🙂"
"""What the model of the tests is made to write: characters of one to four bytes, and a line's end."""
Shell = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A translator that writes bytes, one step old."""
    folder = tmp_path_factory.mktemp("run") / "model"
    overrides = ["training.steps=1", "tokenizers.text.id=nlp/bytes"]
    api.finetune(TASK, data=Translation.examples(), valid="none", out=folder, overrides=overrides)
    return folder


@pytest.fixture(autouse=True)
def writes_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes of `TEXT` are forced, and then the end."""
    notes = Translation.notes

    def forced(self: Translation, begun: bool = False) -> dict[str, Any]:
        tokenizer = self.tokens["text"]
        ids = [*tokenizer.encode(TEXT)["ids"].tolist(), tokenizer.end_id]
        return {**notes(self, begun), "forced": dict(enumerate(ids))}

    monkeypatch.setattr(Translation, "notes", forced)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """A function that runs a command: its exit code, standard output, and lines of standard error."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "a"}\n')))

    def run(*words: str) -> tuple[int, str, list[str]]:
        capsys.readouterr()
        code = main(["run", *words])
        found = capsys.readouterr()
        return code, found.out, found.err.splitlines()

    return run


def ask(model: Path, *more: str) -> list[str]:
    return [TASK, "--model", str(model), "text=a", *more]


class Flushed(io.RawIOBase):
    """Keeps what arrives, one item for each flush of the file above it."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.parts.append(bytes(data))
        return len(data)


@pytest.mark.parametrize("more", [(), ("log_probabilities=true",), ("prefix=né",)], ids=str)
def test_pieces_are_the_answer_as_it_grows(
    shell: Shell, model: Path, more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, whole, errors = shell(*ask(model, *more))
    assert (code, errors) == (0, [])
    begun = "né" if "prefix=né" in more else ""
    assert whole.startswith(f"text: {begun}{TEXT}\nlog_probabilities: ")

    found = Flushed()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(found), encoding="utf-8"))
    assert main(["run", *ask(model, *more, "--stream")]) == 0
    parts = [part.decode("utf-8") for part in found.parts]  # half a character would be no UTF-8
    assert "".join(parts) == whole
    assert parts[1:-1] == [begun + TEXT[0], *TEXT[1:]]


def test_what_the_encoding_lacks_is_escaped(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Flushed()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(found), encoding="latin-1"))
    assert main(["run", *ask(model, "--stream")]) == 0
    assert b"".join(found.parts).startswith(b"text: th\xe9 \\u5c0f\n\\u7c60\\U0001f642\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--stream"], "--stream shows one answer; give one input as FIELD=VALUE, or leave --stream out"),
        (
            ["--stream", "--json", "text=a"],
            "--stream shows text as it comes, and --json one object at the end; leave one",
        ),
        (
            ["--stream", "--json"],
            "--stream shows text as it comes, and --json one object at the end; leave one of them",
        ),
        (["--stream", "text=a", "num_beams=2"], "num_beams=2 cannot be shown as it writes"),
        (["--stream", "text=a", "num_beam=2"], "'num_beam=2' is no field of nlp/translation"),
    ],
)
def test_refused_in_one_line(shell: Shell, model: Path, words: list[str], said: str) -> None:
    code, out, errors = shell(TASK, "--model", str(model), *words)
    assert (code, out, len(errors)) == (2, "", 1)
    assert errors[0].startswith(f"error: {said}")


def test_a_task_that_answers_at_once_is_refused(shell: Shell, saved: Path) -> None:
    code, out, errors = shell("letters/richest", "--model", str(saved), "text=ab", "--stream")
    said = "error: letters/richest answers at once, not token by token; ask for the whole answer"
    assert (code, out, errors) == (2, "", [said])


@pytest.mark.parametrize(
    ("raised", "expected", "said"),
    [(KeyboardInterrupt(), 130, []), (ValueError("odd ids"), 2, ["error: input 1: odd ids"])],
    ids=["Ctrl-C", "error"],
)
def test_what_ends_it_early_leaves_a_whole_line(
    shell: Shell, model: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException, expected: int, said: list[str]
) -> None:
    decode = Translation.decode

    def interrupted(self: Translation, input: Any, samples: Any, predictions: Any, options: Any) -> Any:
        if len(predictions[0].values["ids"]) == 3:
            raise raised
        return decode(self, input, samples, predictions, options)

    monkeypatch.setattr(Translation, "decode", interrupted)
    code, out, errors = shell(*ask(model, "--stream"))
    assert (code, out) == (expected, "text: th\n")
    assert [line for line in errors if line != "interrupted"] == said


def test_a_reader_that_goes_away_ends_the_writing(
    model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    decoded: list[int] = []
    decode = Translation.decode

    def counted(self: Translation, *given: Any) -> Any:
        decoded.append(1)
        return decode(self, *given)

    monkeypatch.setattr(Translation, "decode", counted)
    with open(writer, "w", encoding="utf-8") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        assert main(["run", *ask(model, "--stream")]) == 141
        monkeypatch.undo()
    assert len(decoded) == 1
    assert capfd.readouterr().err == ""
