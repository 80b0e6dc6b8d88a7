"""Runs: a folder that is whole at once, resumed from anywhere, honest about what is damaged, and free of pickle."""

from __future__ import annotations

import errno
import json
import math
import os
import pickle
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml

from anyformer import api, durable, plugins
from anyformer.hookspecs import hookimpl
from anyformer.train import checkpoint
from anyformer.train.engine import Engine
from anyformer.train.log import Log
from anyformer.train.run import Run
from anyformer.train.stop import Stopped

STEPS = 8
"""Two epochs of sixteen records, four a step."""


class Heard:
    """A listener that keeps what it hears, and does something at a checkpoint."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.saved: list[str] = []
        self.ended: list[str] = []

    @hookimpl
    def anyformer_run_warned(self, warning: str) -> None:
        self.warnings.append(warning)

    @hookimpl
    def anyformer_checkpoint_saved(self, checkpoint: Path) -> None:
        self.saved.append(checkpoint.name)

    @hookimpl
    def anyformer_run_ended(self, reason: str) -> None:
        self.ended.append(reason)


@pytest.fixture
def heard() -> Iterator[Heard]:
    listener = Heard()
    plugins.register(listener)
    yield listener
    plugins.unregister(listener)


@pytest.fixture(scope="module")
def begin(letters: ModuleType) -> Callable[..., Run]:
    """A function that trains in a folder, with a checkpoint at each step."""

    def begin(out: Path, *overrides: str, valid: Any = "none", task: str = "letters/richest", **given: Any) -> Run:
        every = [f"training.steps={STEPS}", "training.save_every=1", "training.keep=99", *overrides]
        return api.finetune(task, data=letters.words(16), out=out, valid=valid, overrides=every, **given)

    return begin


@pytest.fixture(scope="module")
def whole(begin: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing disturbed."""
    return begin(tmp_path_factory.mktemp("runs") / "whole")


def stopped_at(run: Run, folder: Path, step: int) -> Path:
    """A copy of a run as a kill right after the checkpoint of `step` leaves it."""
    shutil.copytree(run.folder, folder, ignore=shutil.ignore_patterns("model", "report.html"))
    for path in (folder / "checkpoints").iterdir():
        if int(path.name) > step:
            shutil.rmtree(path)
    return folder


def lines(run: Run) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in run.log.lines()]


def assert_same(run: Run, other: Run) -> None:
    """Weights, optimizer and log are those of the other run, bit for bit."""
    assert (run.model / "model.safetensors").read_bytes() == (other.model / "model.safetensors").read_bytes()
    last = f"checkpoints/{STEPS:08d}/rank0.safetensors"
    assert (run.folder / last).read_bytes() == (other.folder / last).read_bytes()
    assert lines(run) == lines(other)


# -- resume


@pytest.mark.parametrize("step", range(STEPS + 1))
def test_resumed_at_any_step_it_ends_the_same(whole: Run, letters: ModuleType, tmp_path: Path, step: int) -> None:
    folder = stopped_at(whole, tmp_path / "run", step)
    assert_same(api.resume(folder, data=letters.words(16)), whole)


def test_a_second_run_is_the_same_and_another_seed_is_not(
    begin: Callable[..., Run], whole: Run, tmp_path: Path
) -> None:
    assert_same(begin(tmp_path / "again"), whole)
    other = begin(tmp_path / "other", "training.seed=1")
    assert (other.model / "model.safetensors").read_bytes() != (whole.model / "model.safetensors").read_bytes()


def test_a_finished_run_is_returned_as_it_is(whole: Run) -> None:
    before = (whole.model / "model.safetensors").stat()
    assert api.resume(whole.folder).finished
    assert (whole.model / "model.safetensors").stat() == before


def test_with_evaluations_on_the_way(begin: Callable[..., Run], letters: ModuleType, tmp_path: Path) -> None:
    """Evaluating changes nothing that is learned, and a resumed run has each evaluation once."""
    valid = letters.words(5, seed=9)
    run = begin(tmp_path / "run", "training.evaluate_every=2", "training.save_every=3", valid=valid)
    evaluated = [line["step"] for line in lines(run) if "valid/accuracy" in line]
    assert evaluated == [2, 4, 6]
    for step in (3, 6):
        folder = stopped_at(run, tmp_path / f"at-{step}", step)
        resumed = api.resume(folder, data=letters.words(16), valid=valid)
        assert_same(resumed, run)
        assert resumed.scores["scores"] == run.scores["scores"]
    without = begin(tmp_path / "without", "training.save_every=3", valid=valid)
    assert (without.model / "model.safetensors").read_bytes() == (run.model / "model.safetensors").read_bytes()


def test_other_data_is_refused(whole: Run, letters: ModuleType, tmp_path: Path) -> None:
    folder = stopped_at(whole, tmp_path / "run", 3)
    with pytest.raises(ValueError, match="the run's data was in memory; give the same rows again"):
        api.resume(folder)
    with pytest.raises(ValueError, match=r"the run's data \(in memory\) has changed since it began"):
        api.resume(folder, data=letters.words(16, seed=1))


# -- damage


@pytest.mark.parametrize("file", ["manifest.json", "rank0.safetensors"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    whole: Run, letters: ModuleType, tmp_path: Path, heard: Heard, file: str
) -> None:
    folder = stopped_at(whole, tmp_path / "run", 5)
    path = folder / "checkpoints" / "00000005" / file
    broken = bytearray(path.read_bytes())
    broken[len(broken) // 2] ^= 1
    path.write_bytes(broken)
    (folder / "checkpoints" / ".writing-00000006").mkdir()
    assert_same(api.resume(folder, data=letters.words(16)), whole)
    (warning,) = heard.warnings
    assert "00000005" in warning
    assert file in warning
    assert warning.endswith("; an earlier one is taken")
    assert heard.saved[0] == "00000005"
    assert not list(folder.glob("checkpoints/.writing-*"))


def test_no_whole_checkpoint(whole: Run, letters: ModuleType, tmp_path: Path, heard: Heard) -> None:
    folder = stopped_at(whole, tmp_path / "run", 0)
    (folder / "checkpoints" / "00000000" / "manifest.json").unlink()
    with pytest.raises(
        ValueError, match=r"has no checkpoint that is whole \(checkpoint .*00000000 has no manifest.json"
    ):
        api.resume(folder, data=letters.words(16))
    assert heard.warnings == []


@pytest.mark.parametrize(
    "text", ["", "- 1", "a: [", "id: letters/richest", "id: x\ndata: {}\nsettings: 1", b"\xff\xfe"]
)
def test_a_damaged_run_page(whole: Run, tmp_path: Path, text: str | bytes) -> None:
    folder = stopped_at(whole, tmp_path / "run", 2)
    (folder / "run.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=r"run\.yaml is damaged: ") as raised:
        api.resume(folder)
    assert "\n" not in str(raised.value)


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is no run: it has no run\.yaml"):
        api.resume(tmp_path)


# -- a full disk


def test_full_disk_is_one_line_and_costs_no_earlier_step(
    begin: Callable[..., Run], whole: Run, letters: ModuleType, tmp_path: Path, heard: Heard,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write = durable.write_tensors

    def full(tensors: Any, path: Path) -> None:
        if path.parent.name.endswith("00000004"):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(tensors, path)

    monkeypatch.setattr(durable, "write_tensors", full)
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match=r"step 4 cannot be written to .*: No space left on device; ") as raised:
        begin(folder)
    assert f"anyformer resume {folder}" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert heard.ended == ["failed"]
    assert sorted(os.listdir(folder / "checkpoints")) == [f"{step:08d}" for step in range(4)]
    monkeypatch.undo()
    assert_same(api.resume(folder, data=letters.words(16)), whole)


def test_full_disk_under_the_log(begin: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Log, line: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Log, "write", full)
    with pytest.raises(ValueError, match=r"step 2 cannot be written to .*: No space left on device"):
        begin(tmp_path / "run")


def test_full_disk_at_the_start_leaves_nothing(
    begin: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any, **named: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(OSError, match="No space left"):
        begin(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


# -- the folder


def test_a_folder_that_cannot_be_a_run(whole: Run, begin: Callable[..., Run], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes").write_text("x")
    for out, said in (
        (whole.folder, f"already holds a run; go on with: anyformer resume {whole.folder}"),
        (tmp_path / "used", "exists and is not empty; give another folder"),
        (tmp_path / "file", "exists and is not empty; give another folder"),
        (tmp_path / "file" / "run", "file is no folder; give another folder"),
        (Path(), "'.' is no name for a run's folder"),
    ):
        with pytest.raises(ValueError, match="folder") as raised:
            begin(out)
        assert said in str(raised.value)
    assert sorted(os.listdir(tmp_path)) == ["file", "used"]


def test_an_empty_folder_and_one_to_be_made_will_do(begin: Callable[..., Run], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert begin(tmp_path / "empty", "training.steps=1").finished
    assert begin(tmp_path / "a" / "b" / "run", "training.steps=1").finished
    assert sorted(os.listdir(tmp_path)) == ["a", "empty"]


def test_a_wrong_device_or_a_sequence_too_long_is_found_before_anything_is_written(
    begin: Callable[..., Run], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="the device 'cuda:99' cannot be used"):
        begin(tmp_path / "run", "training.device=cuda:99")
    learned = ["trunk.encoder.position.kind=learned", "trunk.encoder.position.length=6"]
    with pytest.raises(ValueError, match=r"^a sequence reaches \d+ tokens; the model has 6 learned positions"):
        begin(tmp_path / "run", *learned)
    rows = [{"text": "ab", "label": "ab"[place % 2]} for place in range(9)]
    valid = [{"text": "abababa", "label": "a"}]
    with pytest.raises(ValueError, match=r"^in memory: a sequence reaches 8 tokens"):
        api.finetune("richest", data=rows, valid=valid, out=tmp_path / "run", overrides=learned)
    assert list(tmp_path.iterdir()) == []


def test_the_page_of_a_run(whole: Run) -> None:
    page = yaml.safe_load((whole.folder / "run.yaml").read_text())
    assert (page["kind"], page["id"], page["model"], page["start"]) == ("task", "letters/richest", None, [])
    assert (page["settings"]["training"]["steps"], page["settings"]["config"]["left_out"]) == (STEPS, 0.2)
    assert page["data"]["rows"] == 16
    assert len(page["data"]["fingerprint"]) == 64
    assert page["torch"] == str(torch.__version__)


def test_nothing_in_a_run_is_a_pickle(
    begin: Callable[..., Run], letters: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither written nor read: the functions raise, the interpreter's own hook listens, and the files are looked at."""
    used: list[str] = []
    listening = [True]
    sys.addaudithook(lambda event, given: used.append(event) if listening[0] and event == "pickle.find_class" else None)

    def refuse(*given: Any, **named: Any) -> Any:
        raise AssertionError("pickle is used")

    for owner, names in (
        (pickle, ("dump", "dumps", "load", "loads", "Pickler", "Unpickler")),
        (torch, ("save", "load")),
    ):
        for name in names:
            monkeypatch.setattr(owner, name, refuse)
    run = begin(tmp_path / "run", valid=letters.words(4, seed=2))
    folder = stopped_at(run, tmp_path / "stopped", 3)
    api.resume(folder, data=letters.words(16), valid=letters.words(4, seed=2))
    api.pipeline(model=folder)({"text": "abba"})
    listening[0] = False
    assert used == []
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        start = path.read_bytes()[:4]
        assert not start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")), path


# -- what is not finite


def test_weights_that_are_not_finite_are_never_saved(
    begin: Callable[..., Run], tmp_path: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finite gradient can still overflow a weight; the run stops with the checkpoints it has."""
    advance = Engine.advance

    def overflow(self: Engine) -> Any:
        line = advance(self)
        if self.step == 3:
            next(self.model.parameters()).data.view(-1)[0] = math.inf
        return line

    monkeypatch.setattr(Engine, "advance", overflow)
    with pytest.raises(
        ValueError, match=r"the weight '.*' is no longer finite at step 3, which is not saved"
    ) as raised:
        begin(tmp_path / "run")
    assert "lower training.optimizer.lr" in str(raised.value)
    assert sorted(os.listdir(tmp_path / "run" / "checkpoints")) == ["00000000", "00000001", "00000002"]
    assert heard.ended == ["failed"]


def test_a_huge_learning_rate_ends_in_words(begin: Callable[..., Run], tmp_path: Path) -> None:
    huge = ["training.optimizer.name=sgd", "training.optimizer.lr=1e38", "training.clip=null", "training.patience=2"]
    with pytest.raises(ValueError, match=r"not finite in 2 updates in a row|no longer finite at step"):
        begin(tmp_path / "run", *huge)
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        found = checkpoint.load(path)
        assert all(bool(t.isfinite().all()) for name, t in found.tensors.items() if name.startswith("model/"))


# -- the log


def test_log_is_cut_back_to_a_step(tmp_path: Path) -> None:
    log = Log(tmp_path)
    assert log.lines() == []
    for step in (2, 4, 6):
        log.write({"step": step, "valid/x": math.nan, "train/loss": 0.5, "worst": math.inf})
    with log.path.open("a") as file:
        file.write('{"step": 8, "tra')
    assert [line["step"] for line in log.lines()] == [2, 4, 6]
    log.cut(4)
    assert log.path.read_text() == "".join(
        f'{{"step": {step}, "valid/x": null, "train/loss": 0.5, "worst": null}}\n' for step in (2, 4)
    )
    log.write({"step": 6})
    assert [line["step"] for line in log.lines()] == [2, 4, 6]


# -- signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("step", [3, STEPS])
def test_a_signal_saves_and_stops_within_a_step(
    begin: Callable[..., Run], whole: Run, letters: ModuleType, tmp_path: Path, heard: Heard,
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int, step: int,
) -> None:  # fmt: skip
    advance = Engine.advance

    def interrupted(self: Engine) -> Any:
        if self.step == step - 1:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), signal.SIGINT)  # the impatient second one changes nothing
        return advance(self)

    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    monkeypatch.setattr(Engine, "advance", interrupted)
    folder = tmp_path / "run"
    with pytest.raises(Stopped) as raised:
        begin(folder, "training.save_every=null")
    monkeypatch.undo()
    assert raised.value.code == code
    assert str(raised.value) == f"stopped at step {step}; go on with: anyformer resume {folder}"
    assert heard.ended == ["interrupted"]
    assert heard.saved == [f"{step:08d}"]
    assert not Run(folder).finished
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert_same(api.resume(folder, data=letters.words(16)), whole)


def test_scores_of_a_run(begin: Callable[..., Run], letters: ModuleType, tmp_path: Path) -> None:
    run = begin(tmp_path / "run", valid=letters.words(6, seed=3))
    assert json.loads((run.folder / "scores.json").read_text()) == run.scores
    assert run.scores["records"] == 6
    assert Run(tmp_path / "none").scores == {}
