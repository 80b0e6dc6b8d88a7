"""The shell on bad input: one line that says what was given, what exists and what to do; exit code 2; nothing written."""

from __future__ import annotations

import io
import json
import struct
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from anyformer import api, plugins
from anyformer.cli import main

TEXT, TRANSLATION, IMAGE = "nlp/text-classification", "nlp/translation", "vision/image-classification"
PROTEIN, FORECAST = "bio/secondary-structure", "finance/forecast"
TASKS = (TEXT, TRANSLATION, IMAGE, PROTEIN, FORECAST)
SHORT = "training.steps=1"
"""Whatever is wrong is found before the first step; if it is not, it does not take long."""


# -- material


def table(rows: Sequence[Sequence[str]], *columns: str) -> bytes:
    return "".join(",".join(row) + "\n" for row in [columns, *rows]).encode()


def png(width: int, height: int, pixels: bytes) -> bytes:
    """A grey image of one bit a pixel, by hand: no library would write one that lies or is this large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


DAYS = [str(np.datetime64("2020-01-01") + day) for day in range(600)]
PRICES = [(day, f"{10 + place % 7}") for place, day in enumerate(DAYS)]
TEN_MEGABYTES = "word and " * 1_150_000
GOOD = [(f"w{place} x", str(place % 2)) for place in range(20)]

FILES: dict[str, bytes] = {
    "good.csv": table(GOOD, "text", "label"),
    "other.csv": table(GOOD, "sentence", "mark"),
    "empty.csv": b"",
    "header.csv": b"text,label\n",
    "latin.csv": b"text,label\ncaf\xe9,1\n",
    "ragged.csv": b"text,label\na,1\nb,2,3\n",
    "one.csv": table([("a", "1")] * 9, "text", "label"),
    "long.csv": table([*GOOD, (TEN_MEGABYTES, "1")], "text", "label"),
    "long.txt": TEN_MEGABYTES.encode(),
    "bomb.png": png(13_000, 13_000, b"\0" * (1 + 13_000 // 8) * 13_000),
    "liar.png": png(2**31 - 1, 2**31 - 1, b""),
    "garbage.png": b"garbage",
    "stop.fasta": b">first\nMKV\n>second\nMKV*LL\n",
    "headless.fasta": b"MKVLL\n",
    "plain.fasta": b">first\nMKVLL\n>second\nMKV\n",
    "short.jsonl": b'{"sequence": "MKVL", "label": "HH"}\n' * 4,
    "broken.jsonl": b'{"text": "a", "label": "1"}\n{"text": "b", \n',
    "gap.csv": table(PRICES[:200] + PRICES[230:], "date", "price"),
    "nan.csv": table([*PRICES[:200], (DAYS[200], "NaN"), *PRICES[201:]], "date", "price"),
    "inf.csv": table([*PRICES[:200], (DAYS[200], "inf"), *PRICES[201:]], "date", "price"),
    "words.csv": table([*PRICES[:200], (DAYS[200], "n/k"), *PRICES[201:]], "date", "price"),
    "unsorted.csv": table([*PRICES[:100], PRICES[150], *PRICES[100:]], "date", "price"),
    "twice.csv": table([*PRICES[:100], PRICES[99], *PRICES[100:]], "date", "price"),
    "dates.csv": table([*PRICES[:100], ("2020-13-45", "3"), *PRICES[100:]], "date", "price"),
    "few.csv": table(PRICES[:40], "date", "price"),
    "list.yaml": b"- 1\n",
    "file": b"x",
    "used/notes.txt": b"x",
    "huggingface/config.json": b"{}",
    "photos/a/1.png": png(8, 8, b"\0\0" * 8),
    "photos/b/1.png": png(8, 8, b"\0\xff" * 8),
    "photos/b/2.png": png(8, 8, b"\0\x0f" * 8),
    "bombs/a/1.png": png(8, 8, b"\0\0" * 8),
    "bombs/b/1.png": png(13_000, 13_000, b"\0" * (1 + 13_000 // 8) * 13_000),
    "mixed/a/1.png": png(8, 8, b"\0\0" * 8),
    "mixed/b/notes.txt": b"x",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all of it, and a model of each task under `models/<domain>`, one step old."""
    place = tmp_path_factory.mktemp("bad")
    for name, content in FILES.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    for task in TASKS:
        small = ["tokenizers.text.vocabulary_size=300"] if task.startswith("nlp/") else []
        api.finetune(
            task, data=plugins.task(task).examples(), valid="none", out=place / "models" / task,
            overrides=["training.steps=1", *small],
        )  # fmt: skip
    return place


Shell = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def shell(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """A function that runs a command in the folder: its exit code, standard output, and lines of standard error."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("ANYFORMER_DEBUG", raising=False)

    def run(*words: str, lines: bytes = b"") -> tuple[int, str, list[str]]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
        code = main([word.format(model="models") for word in words])
        found = capsys.readouterr()
        return code, found.out, found.err.splitlines()

    return run


def everything(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


def finetune(task: str, data: str, *more: str) -> list[str]:
    return ["finetune", task, "--data", data, "--out", "out", SHORT, *more]


def ask(task: str, *more: str) -> list[str]:
    return ["run", task, "--model", f"{{model}}/{task}", *more]


WRONG: list[tuple[list[str], str]] = [
    # -- what was typed
    (["finetun"], "unknown command 'finetun' (did you mean 'finetune'?); commands: demo, "),
    (finetune("nlp/text-clasification", "good.csv"), "unknown task 'nlp/text-clasification' (did you mean "
                                                     "'nlp/text-classification'?); nlp has: "),
    (finetune("weather/rain", "good.csv"), "to install it: pip install anyformer-weather"),
    (["finetune", TEXT, "--dat", "good.csv"], "No such option: --dat"),
    (["finetune", TEXT, "--out", "out"], "Missing option '--data'"),
    (["evaluate", TEXT, "--model", "x", "--data", "good.csv", "--seed", "x"],
     "Invalid value for '--seed': Input should be a valid integer"),
    (finetune(TEXT, "good.csv", "training.lr=3"), "no setting 'training.lr' (did you mean 'training.optimizer.lr'?)"),
    (finetune(TEXT, "good.csv", "lr"), "'lr' is no override; write key=value"),
    (finetune(TEXT, "good.csv", "training.records=many"), "'training.records' is 'many'; it should be a valid integer"),
    (finetune(TEXT, "good.csv", "training.device=gpu"), "the device 'gpu' cannot be used"),
    (finetune(TEXT, "good.csv", "--config", "none.yaml"), "cannot read the settings in 'none.yaml': No such file"),
    (finetune(TEXT, "good.csv", "--config", "list.yaml"), "'list.yaml' must hold a mapping of settings"),
    (finetune(TEXT, "good.csv", "--preset", "nlp/gpt9"), "unknown preset 'nlp/gpt9'"),
    (finetune(TEXT, "good.csv", "--preset", "nlp/gpt2-124m"), "needs a trunk with an encoder; this one has none"),
    (["pretrain", "next-tokn", "--tokenizer", "nlp/bpe", "--data", "good.csv", "--out", "out"],
     "unknown objective 'next-tokn' (did you mean 'next-token'?)"),
    (["pretrain", "next-token", "--tokenizer", "nlp/bpee", "--data", "good.csv", "--out", "out"],
     "unknown tokenizer 'nlp/bpee' (did you mean 'nlp/bpe'?)"),
    (["pretrain", "next-token", "--tokenizer", "nlp/bytes", "--data", "other.csv", "--out", "out"],
     "which column is to be learned? Name it 'text' with columns; there are: 'sentence', 'mark'"),
    # -- models
    (["run", TRANSLATION, "--model", "none", "text=a"], "there is no model at none; give a run's folder"),
    (["run", TRANSLATION, "--model", "huggingface", "text=a"], "config.json names no 'model_type'; the installed "),
    (["run", TRANSLATION, "--model", "file", "text=a"], "file is a file; a model is a folder with anyformer.json"),
    (["run", TRANSLATION, "--model", f"{{model}}/{TEXT}", "text=a"], f"the model has no component '{TRANSLATION}'"),
    (finetune(TEXT, "good.csv", "--model", "used"), "used is no model: it has no anyformer.json; it has: notes.txt"),
    (["resume", "none"], "none is no run: it has no run.yaml"),
    (["resume", "file"], "file is no run: it has no run.yaml"),
    # -- files
    (finetune(TEXT, "goood.csv"), "no such file: 'goood.csv' (did you mean 'good.csv'?)"),
    (finetune(TEXT, "used"), "'used' holds 'notes.txt', which is no image"),
    (finetune(TEXT, "empty.csv"), "empty.csv is empty"),
    (finetune(TEXT, "header.csv"), "header.csv has one line, which is read as the header ('text', 'label'), and no rows"),
    (finetune(TEXT, "latin.csv"), "latin.csv, line 2: byte 0xe9 is not UTF-8"),
    (finetune(TEXT, "ragged.csv"), "ragged.csv, line 3: 3 values for 2 columns"),
    (finetune(TEXT, "broken.jsonl"), "broken.jsonl, line 2"),
    (finetune(TEXT, "good.csv[90:]"), "'good.csv[90:]' has no rows: there are 20 in all"),
    (
        finetune(TEXT, "other.csv"),
        "row 1: 'text' is missing; given: 'sentence', 'mark'; if it has another name there, say so, as in --columns "
        "text=sentence",
    ),
    (finetune(TEXT, "other.csv", "--columns", "text=sentense,label=mark"), "(did you mean 'sentence'?)"),
    (finetune(TEXT, "good.csv", "--valid", "none.csv"), "no such file: 'none.csv'"),
    (finetune(TEXT, "good.csv", "--valid", "2"), "the fraction to hold out must lie between 0 and 1; got 2"),
    (finetune(TEXT, "one.csv"), "the training data has 1 label: '1'; a classifier needs two or more"),
    (["evaluate", TEXT, "--model", f"{{model}}/{TEXT}", "--data", "empty.csv"], "empty.csv is empty"),
    (["evaluate", TEXT, "--model", f"{{model}}/{TEXT}", "--data", "other.csv"], "row 1: 'text' is missing"),
    # -- texts
    (finetune(TEXT, "long.csv"), "the text has 10,350,000 characters; at most 1,000,000 are accepted"),
    (ask(TEXT, "text=@long.txt"), "input 1: the text has 10,350,000 characters; at most 1,000,000 are accepted"),
    (ask(TRANSLATION, "text=@long.txt"), "input 1: the text has 10,350,000 characters"),
    (ask(TEXT, "text=@none.txt"), "cannot read 'none.txt': No such file or directory"),
    (ask(TEXT, "text=@bomb.png"), "'bomb.png' is not text in UTF-8"),
    (ask(TEXT, "txt=a"), "'txt=a' is no field of nlp/text-classification; write FIELD=VALUE with: text, top"),
    (ask(TEXT, "text=a", "top=0"), "'top': Input should be greater than or equal to 1 (given: 0)"),
    (ask(TEXT, "text=a", "--device", "gpu"), "the device 'gpu' cannot be used"),
    # -- images
    (finetune(IMAGE, "bombs"), "'bombs/b/1.png' is 13000 x 13000 pixels; at most 25,000,000 are accepted"),
    (finetune(IMAGE, "mixed"), "'mixed' holds 'b/notes.txt', which is no image"),
    (ask(IMAGE, "image=@bomb.png"), "input 1: 'bomb.png' is 13000 x 13000 pixels; at most 25,000,000"),
    (ask(IMAGE, "image=@liar.png"), "input 1: 'liar.png' has more than 25,000,000 pixels"),
    (ask(IMAGE, "image=@garbage.png"), "input 1: 'garbage.png' is no image that can be read; the formats are PNG"),
    (ask(IMAGE, "image=@none.png"), "there is no image file 'none.png'"),
    # -- proteins
    (finetune(PROTEIN, "stop.fasta"), "stop.fasta, line 4: '*' in record 'second' is no letter of a sequence; the letters "),
    (finetune(PROTEIN, "headless.fasta"), "a FASTA record begins with a line '>name'; got 'MKVLL'"),
    (finetune(PROTEIN, "plain.fasta"), "'label' is missing; given: 'id', 'sequence'"),
    (finetune(PROTEIN, "short.jsonl"), "sequence has 4 residues and label 2 letters; they must agree"),
    (ask(PROTEIN, "sequence=MK1V"), "'1' at position 3 is no letter of a protein sequence; the letters are ACDE"),
    (ask(PROTEIN, "sequence="), "the protein sequence is empty"),
    # -- series
    (finetune(FORECAST, "gap.csv"), "row 201: date 2020-08-18 follows 2020-07-18 although the step is 1 day: 30 rows are"),
    (finetune(FORECAST, "nan.csv"), "row 201: 'price' is missing; complete it, or set config.gaps=fill"),
    (finetune(FORECAST, "inf.csv"), "row 201: 'price' is 'inf'; give a finite number"),
    (finetune(FORECAST, "words.csv"), "row 201: 'price' is 'n/k', which is no number"),
    (finetune(FORECAST, "unsorted.csv"), "comes after 2020-05-30; sort the rows by date, oldest first"),
    (finetune(FORECAST, "twice.csv"), "date 2020-04-09 stands twice"),
    (finetune(FORECAST, "dates.csv"), "row 101 is '2020-13-45', which is no date; write dates as YYYY-MM-DD"),
    (finetune(FORECAST, "few.csv"), "rows, and one record needs 432 (config.look_back=336 and config.horizon=96)"),
    (ask(FORECAST, "series=[1, 2, 3]"), "series 'value' has 3 values; the model reads 336"),
    # -- the run's folder
    (finetune(TEXT, "good.csv", "--out", "file"), "file exists and is not empty; give another folder"),
    (finetune(TEXT, "good.csv", "--out", "file/run"), "file is no folder; give another folder"),
    (finetune(TEXT, "good.csv", "--out", "used"), "used exists and is not empty; give another folder"),
    (finetune(TEXT, "good.csv", "--out", f"{{model}}/{TEXT}"), "already holds a run; go on with: anyformer resume"),
    (finetune(TEXT, "good.csv", "--out", "/proc/none/run"), "/proc"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), WRONG, ids=[" ".join(words)[:60] for words, _ in WRONG])
def test_one_line_exit_code_2_and_nothing_written(shell: Shell, folder: Path, words: list[str], said: str) -> None:
    before = everything(folder)
    code, out, lines = shell(*words)
    assert (code, out) == (2, "")
    (line,) = lines
    assert line.startswith("error: ")
    assert said in line
    assert len(line) < 700
    assert everything(folder) == before


def test_bad_lines_are_answered_in_their_place(shell: Shell) -> None:
    lines = [
        b'{"text": "rain", "note": 1}',
        b'{"text": "un',
        b"[1]",
        b"  ",
        b'{"txt": "a"}',
        b"\xff\xfe",
        b'{"text": 5}',
        b'{"text": "\\ud800"}',
        b"[" * 100_000,
        b"NaN",
        b'{"text": "snow"}',
    ]
    code, out, errors = shell(*ask(TEXT), lines=b"\n".join(lines))
    answers = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert ["error" in answer for answer in answers] == [False, *[True] * 8, False]
    assert errors == [f"error: {answer['error']}" for answer in answers if "error" in answer]
    for number, answer in enumerate(answers, 1):
        if "error" in answer:
            assert answer["error"].startswith(f"input {number}: ")
            assert len(answer["error"]) < 250
    needs = f"an input of {TEXT} is a mapping with: text; got "
    assert answers[1]["error"].endswith(needs + '\'{"text": "un\'')
    assert answers[2]["error"].endswith(needs + "'[1]'")
    assert answers[3]["error"] == "input 4: 'text' is missing; given: 'txt'"
    assert answers[-1]["label"] in ("food", "weather")


def test_good_lines_exit_with_0(shell: Shell) -> None:
    code, out, errors = shell(*ask(TEXT), lines=b'{"text": "rain"}\n\n{"text": "soup"}')
    assert (code, len(out.splitlines()), errors) == (0, 2, [])


def test_json_from_a_stranger_opens_no_file(shell: Shell) -> None:
    code, out, _ = shell(*ask(IMAGE), lines=b'{"image": "photos/a/1.png"}\n')
    assert code == 1
    assert "is no base64 text" in json.loads(out)["error"]
    code, out, errors = shell(*ask(IMAGE, "image=photos/a/1.png", "--json"))
    assert (code, errors) == (0, [])
    assert json.loads(out)["label"] in ("lying", "standing")
