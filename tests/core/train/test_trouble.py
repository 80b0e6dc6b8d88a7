"""What goes wrong under a run: damaged files, a full disk, numbers that are not finite, signals. What was saved, stays."""

from __future__ import annotations

import errno
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from anyformer import api, durable
from anyformer.train import checkpoint
from anyformer.train.engine import Engine
from anyformer.train.log import Log
from anyformer.train.run import Run
from anyformer.train.stop import Stopped

Begin = Callable[..., Run]
StoppedAt = Callable[[Run, Path, int], Path]
AssertSame = Callable[[Run, Run], None]
STEPS = 8
"""Of a run of the fixtures."""


# -- damage


@pytest.mark.parametrize("file", ["manifest.json", "rank0.safetensors"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    whole: Run,
    letters: ModuleType,
    tmp_path: Path,
    heard: Any,
    file: str,
    stopped_at: StoppedAt,
    assert_same: AssertSame,
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


def test_no_whole_checkpoint(
    whole: Run, letters: ModuleType, tmp_path: Path, heard: Any, stopped_at: StoppedAt
) -> None:
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
def test_a_damaged_run_page(whole: Run, tmp_path: Path, text: str | bytes, stopped_at: StoppedAt) -> None:
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
    begin: Begin,
    whole: Run,
    letters: ModuleType,
    tmp_path: Path,
    heard: Any,
    monkeypatch: pytest.MonkeyPatch,
    assert_same: AssertSame,
) -> None:
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


def test_full_disk_under_the_log(begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Log, line: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Log, "write", full)
    with pytest.raises(ValueError, match=r"step 2 cannot be written to .*: No space left on device"):
        begin(tmp_path / "run")


def test_full_disk_at_the_start_leaves_nothing(begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any, **named: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(OSError, match="No space left"):
        begin(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


# -- what is not finite


def test_weights_that_are_not_finite_are_never_saved(
    begin: Begin, tmp_path: Path, heard: Any, monkeypatch: pytest.MonkeyPatch
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


def test_a_huge_learning_rate_ends_in_words(begin: Begin, tmp_path: Path) -> None:
    huge = ["training.optimizer.name=sgd", "training.optimizer.lr=1e38", "training.clip=null", "training.patience=2"]
    with pytest.raises(ValueError, match=r"not finite in 2 updates in a row|no longer finite at step"):
        begin(tmp_path / "run", *huge)
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        found = checkpoint.load(path)
        assert all(bool(t.isfinite().all()) for name, t in found.read().items() if name.startswith("model/"))


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
    begin: Begin,
    whole: Run,
    letters: ModuleType,
    tmp_path: Path,
    heard: Any,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    code: int,
    step: int,
    assert_same: AssertSame,
) -> None:
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


def test_signals_while_it_saves_for_a_signal_change_nothing(
    begin: Begin,
    whole: Run,
    letters: ModuleType,
    tmp_path: Path,
    heard: Any,
    monkeypatch: pytest.MonkeyPatch,
    assert_same: AssertSame,
) -> None:
    """The impatient second and third ones, half-way through the checkpoint."""
    advance, write = Engine.advance, durable.write_tensors

    def interrupted(self: Engine) -> Any:
        if self.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return advance(self)

    def impatient(tensors: Any, path: Path) -> None:
        write(tensors, path)
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)

    folder = tmp_path / "run"
    monkeypatch.setattr(Engine, "advance", interrupted)
    with monkeypatch.context() as patch:
        # The checkpoint before the first step is written before signals are caught.
        patch.setattr(
            checkpoint, "save", _late(checkpoint.save, lambda: patch.setattr(durable, "write_tensors", impatient))
        )
        with pytest.raises(Stopped) as raised:
            begin(folder, "training.save_every=null")
    monkeypatch.undo()
    assert raised.value.code == 143
    assert heard.saved == ["00000003"]
    assert not list(folder.rglob(".writing-*"))
    assert_same(api.resume(folder, data=letters.words(16)), whole)


def _late(call: Callable[..., Any], then: Callable[[], None]) -> Callable[..., Any]:
    """The call, and after its first time, `then`."""

    def first(*given: Any, **named: Any) -> Any:
        found = call(*given, **named)
        then()
        return found

    return first
