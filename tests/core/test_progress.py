"""What passes by on standard error while a run goes on."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anyformer import plugins
from anyformer.plan import devices
from anyformer.progress import Progress

FOLDER = Path("runs/x")


class Stream(io.StringIO):
    """A stream that is a terminal or not."""

    def __init__(self, terminal: bool = False) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


class Clock:
    """A clock that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Told:
    """A listener that hears the events of a run as they are told, its clock and its stream."""

    def __init__(self, terminal: bool = False) -> None:
        self.stream, self.clock = Stream(terminal), Clock()
        self.listener = Progress(self.stream, self.clock)
        plugins.register(self.listener)

    def start(self, step: int = 0, steps: int = 1000) -> None:
        plugins.notify("run_started", run=FOLDER, settings={"id": "toy/task", "step": step, "steps": steps})

    def line(self, step: int, after: float, loss: float | None = 2.5) -> None:
        self.clock.now += after
        line = {"step": step, "train/loss": loss, "records": step * 4, "tokens": step * 100}
        plugins.notify("step_ended", run=FOLDER, line=line)

    def end(self, reason: str = "finished") -> None:
        plugins.notify("run_ended", run=FOLDER, reason=reason)

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told()
    yield made
    plugins.unregister(made.listener)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "140")
    made = Told(terminal=True)
    yield made
    plugins.unregister(made.listener)


def test_plain_lines_say_how_far_how_fast_and_how_long(told: Told) -> None:
    told.start()
    told.line(100, 20)
    told.line(200, 20, loss=1.25)
    plugins.notify("checkpoint_saved", run=FOLDER, checkpoint=FOLDER / "checkpoints" / "00000250")
    told.line(300, 20)
    told.end()
    assert told.lines == [
        "toy/task: 1,000 steps",
        "toy/task: step 100 of 1,000 (10%), loss 2.500, 3 min 0 s left, 500 tokens/s, 20 records/s",
        "toy/task: step 200 of 1,000 (20%), loss 1.250, 2 min 40 s left, 500 tokens/s, 20 records/s",
        "toy/task: step 300 of 1,000 (30%), loss 2.500, 2 min 20 s left, 500 tokens/s, 20 records/s, saved at step 250",
        "toy/task: finished at step 300 after 1 min 0 s, loss 2.500, 2 min 20 s left, 500 tokens/s, 20 records/s, "
        "saved at step 250",
    ]
    told.line(400, 20)
    assert len(told.lines) == 5  # a run that ended says no more


def test_plain_lines_are_few(told: Told) -> None:
    told.start(steps=100_000)
    for step in range(10, 5_000, 10):
        told.line(step, after=0.1)
    assert 4 <= len(told.lines) - 1 <= 5  # 50 seconds, 5 %


def test_a_run_that_is_over_in_no_time_writes_next_to_nothing(told: Told) -> None:
    told.start(steps=100)
    for step in range(1, 101):
        told.line(step, after=0.005)
    told.end()
    assert len(told.lines) == 2
    assert told.lines[1].startswith("toy/task: finished at step 100 after 0 s, loss 2.500, ")
    assert "left" not in told.lines[1]


def test_a_quick_run_writes_a_line_for_each_tenth(told: Told) -> None:
    told.start(steps=100)
    for step in range(2, 101, 2):
        told.line(step, after=0.3)
    assert len(told.lines) == 11


def test_plain_lines_hold_no_control_characters(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    told.start()
    told.line(10, after=11)
    told.end("interrupted")
    assert all(character.isprintable() or character == "\n" for character in told.stream.getvalue())
    assert "interrupted at step 10" in told.lines[-1]


def test_a_resumed_run_begins_where_it_was(told: Told) -> None:
    told.start(step=400)
    told.line(410, after=11)
    told.line(420, after=11)
    assert told.lines[0] == "toy/task: from step 400 of 1,000"
    assert told.lines[1] == "toy/task: step 410 of 1,000 (41%), loss 2.500"  # earlier tokens would spoil the rate
    assert "10 min 38 s left, 91 tokens/s, 4 records/s" in told.lines[2]


def test_a_run_without_a_line_ends_in_peace(told: Told) -> None:
    told.start(step=400)
    plugins.notify("checkpoint_saved", run=FOLDER, checkpoint=FOLDER / "checkpoints" / "00000403")
    told.end("interrupted")
    assert told.lines[-1].startswith("toy/task: interrupted at step 403 after 0 s")


def test_a_loss_that_is_none_and_a_warning(told: Told) -> None:
    plugins.notify("run_warned", run=FOLDER, warning="checkpoint 3 is damaged")
    told.start()
    told.line(10, after=11, loss=None)
    plugins.notify("run_warned", run=FOLDER, warning="something else")
    assert told.lines[0] == "warning: checkpoint 3 is damaged"
    assert "loss \N{EN DASH}" in told.lines[2]
    assert told.lines[3] == "toy/task: warning: something else"


def test_the_share_of_the_peak_and_the_last_score(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(devices, "peak_of_run", lambda training: asked.append(training) or 4e6)
    settings = {"id": "toy/task", "step": 0, "steps": 1000, "flops_per_token": 2e3, "settings": {"training": "these"}}
    plugins.notify("run_started", run=FOLDER, settings=settings)
    told.line(100, 20)
    plugins.notify("step_ended", run=FOLDER, line={"step": 100, "valid/f1": 0.75, "valid/loss": 3.0})
    told.line(200, 20)
    assert asked == ["these"]
    assert told.lines[1].endswith("500 tokens/s, 25% MFU, 20 records/s")  # of 2,000 at 4 million operations a second
    assert told.lines[2].startswith("toy/task: step 200 of 1,000 (20%), loss 2.500, valid/f1 0.7500, 2 min")
    assert len(told.lines) == 3  # an evaluation is told with the next step


def test_no_share_of_a_peak_that_is_not_known() -> None:
    assert devices.peak_of_run({"device": "cpu", "precision": "bf16"}) is None


def test_a_bar_on_a_terminal(terminal: Told) -> None:
    results = sys.stdout
    terminal.start(steps=100)
    assert sys.stdout is results
    terminal.line(40, after=2)
    plugins.notify("run_warned", run=FOLDER, warning="[red]look[/red]")
    terminal.line(100, after=3)
    terminal.end()
    shown = terminal.stream.getvalue()
    assert "toy/task" in shown
    assert "100/100" in shown
    assert "loss 2.500" in shown
    assert "warning: [red]look[/red]" in shown  # text, not markup
    assert "\x1b[?25l" in shown
    assert shown.rstrip().rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")  # the cursor is back


def test_a_narrow_terminal_keeps_the_bar_and_the_first_things(terminal: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    terminal.start(steps=10_000)
    terminal.line(10, after=0.1)
    terminal.line(20, after=0.1)
    terminal.end("interrupted")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.stream.getvalue())
    assert shown.rstrip().rpartition("\r")[2] == f"toy/task {chr(0x2501) * 10} 20/10,000 interrupted, loss 2.500"


def test_no_bar_on_a_terminal_that_cannot_draw(terminal: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    terminal.start()
    terminal.line(500, after=11)
    assert "\x1b" not in terminal.stream.getvalue()
    assert len(terminal.lines) == 2


def test_standard_output_stays_free(capsys: pytest.CaptureFixture[str]) -> None:
    listener = Progress()
    listener.anyformer_run_started(FOLDER, {"id": "toy/task", "step": 0, "steps": 10})
    listener.anyformer_step_ended({"step": 10, "train/loss": 1.0, "records": 1, "tokens": 1})
    listener.anyformer_run_ended("finished")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "toy/task: finished at step 10" in captured.err
