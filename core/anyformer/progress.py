"""What a person sees while a run goes on: a bar on a terminal, plain lines elsewhere, always on standard error.

* Plain lines come every `SECONDS`, or after every tenth of the run if that is sooner, but at most one a second, and hold no
  control characters: they are for logs.
* Rates and the time left are of the last lines of the log, by the clock, so evaluations and checkpoints count.
* MFU, "model FLOPs utilisation", is the share of a GPU's peak that goes into the model's own products (`plan.flops`). It is
  shown where run.yaml says what a token costs and the GPU's peak is known (`plan.devices`).
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TextIO

from anyformer.hookspecs import hookimpl
from anyformer.report.words import duration, number

SECONDS = 10.0
"""Between plain lines."""
LEAST_SECONDS = 1.0
"""Between plain lines of a run that is over in no time."""
WINDOW = 20
"""Lines of the log that rates are taken over."""
BAR = 10
"""Columns of the bar on a terminal."""
VALID = "valid/"
"""What the names of scores begin with in the log."""


class Mark(NamedTuple):
    """How far a run was at a moment."""

    seconds: float
    step: int
    records: int
    tokens: int


class Meter:
    """How far a run is, and how fast it goes."""

    def __init__(self, step: int, num_steps: int, clock: Callable[[], float], full_rate: float | None = None) -> None:
        """`full_rate`: tokens per second of a model that is all the GPU does, at its peak; None: not known."""
        self.step, self.num_steps, self.clock, self.full_rate = step, num_steps, clock, full_rate
        self.loss: float | None = None
        self.held_out: tuple[str, float | None] | None = None
        """Name and value of the deciding score of the last evaluation."""
        self.saved: int | None = None
        """The step of the last checkpoint."""
        self.began = clock()
        # How many tokens came before a resumed step is not known until its first line.
        self._marks: deque[Mark] = deque([] if step else [Mark(self.began, 0, 0, 0)], maxlen=WINDOW)

    def take(self, line: Mapping[str, Any]) -> None:
        """Count a line of the log: of a step, or of an evaluation."""
        if "train/loss" not in line:
            scores = ((name, value) for name, value in line.items() if name.startswith(VALID))
            self.held_out = next(scores, self.held_out)
            return
        self.step, self.loss = line["step"], line["train/loss"]
        self._marks.append(Mark(self.clock(), line["step"], line["records"], line["tokens"]))

    def parts(self) -> list[str]:
        """Loss, last score, time left, rates and the last checkpoint, as far as they are known."""
        parts = [f"loss {number(self.loss)}"]
        if self.held_out is not None:
            parts.append(f"{self.held_out[0]} {number(self.held_out[1])}")
        if len(self._marks) > 1:
            first, last = self._marks[0], self._marks[-1]
            seconds = max(last.seconds - first.seconds, 1e-9)
            if self.step < self.num_steps:
                left = (self.num_steps - self.step) * seconds / (last.step - first.step)
                parts.append(f"{duration(left)} left")
            rate = (last.tokens - first.tokens) / seconds
            parts.append(f"{number(round(rate))} tokens/s")
            if self.full_rate is not None:
                parts.append(f"{rate / self.full_rate:.0%} MFU")
            parts.append(f"{number(round((last.records - first.records) / seconds))} records/s")
        if self.saved is not None:
            parts.append(f"saved at step {self.saved:,}")
        return parts

    def said(self) -> str:
        """All parts."""
        return ", ".join(self.parts())


class View(Protocol):
    """One way to show a run."""

    def show(self, meter: Meter) -> None:
        """After a line of the log."""

    def warn(self, warning: str) -> None:
        """A person should know this."""

    def end(self, meter: Meter, reason: str) -> None:
        """The run stopped."""


class Lines:
    """Plain lines, not too many."""

    def __init__(self, name: str, meter: Meter, stream: TextIO) -> None:
        self.name, self.stream = name, stream
        self._shown_at, self._shown_step = meter.clock(), meter.step
        begun = f"from step {meter.step:,} of {meter.num_steps:,}" if meter.step else f"{meter.num_steps:,} steps"
        self._write(begun)

    def show(self, meter: Meter) -> None:
        """Write a line if the last one is long enough ago."""
        now = meter.clock()
        since, steps = now - self._shown_at, meter.step - self._shown_step
        if since >= SECONDS or (since >= LEAST_SECONDS and steps * 10 >= meter.num_steps):
            self._shown_at, self._shown_step = now, meter.step
            share = meter.step / meter.num_steps
            self._write(f"step {meter.step:,} of {meter.num_steps:,} ({share:.0%}), {meter.said()}")

    def warn(self, warning: str) -> None:
        """Write it at once."""
        self._write(f"warning: {warning}")

    def end(self, meter: Meter, reason: str) -> None:
        """Write how it ended."""
        self._write(f"{reason} at step {meter.step:,} after {duration(meter.clock() - meter.began)}, {meter.said()}")

    def _write(self, text: str) -> None:
        self.stream.write(f"{self.name}: {text}\n")
        self.stream.flush()


class Bar:
    """A bar that rich draws on one line; what others write to standard error meanwhile appears above it."""

    def __init__(self, name: str, meter: Meter, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.console = Console(file=stream)
        self._taken = len(name) + BAR + 2 * len(f"{meter.num_steps:,}") + 4
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=BAR),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}", markup=False),
            TextColumn("{task.fields[said]}", markup=False),
            console=self.console,
            refresh_per_second=4,
            redirect_stdout=False,  # standard output is for results, not for what passes by
        )
        self._id = self._bar.add_task(name, completed=meter.step, total=meter.num_steps, said="")
        self._bar.start()

    def show(self, meter: Meter) -> None:
        """Move the bar."""
        self._bar.update(self._id, completed=meter.step, said=self._fitting(meter.parts()))

    def warn(self, warning: str) -> None:
        """Print it above the bar."""
        self.console.print(f"warning: {warning}", markup=False, highlight=False)

    def end(self, meter: Meter, reason: str) -> None:
        """Leave the bar as it is."""
        parts = meter.parts() if reason == "finished" else [reason, *meter.parts()]
        self._bar.update(self._id, completed=meter.step, said=self._fitting(parts))
        self._bar.stop()

    def _fitting(self, parts: list[str]) -> str:
        """The parts for which the terminal is wide enough, the first ones first; else the bar would give way."""
        room, found = self.console.width - self._taken, parts[:1]
        for part in parts[1:]:
            if len(", ".join([*found, part])) <= room:
                found.append(part)
        return ", ".join(found)


class Progress:
    """A listener that shows each run: `anyformer.plugins.register(Progress())`.

    Args:
        stream: where to; default standard error as it is when a run starts.
        clock: seconds that only grow.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._meter: Meter | None = None
        self._view: View | None = None

    @hookimpl
    def anyformer_run_started(self, run: Path, settings: Mapping[str, Any]) -> None:
        """Begin at the step the run begins at."""
        stream = self._stream or sys.stderr
        kind = Bar if stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown") else Lines
        self._meter = Meter(settings["step"], settings["steps"], self._clock, _full_rate(settings))
        self._view = kind(str(settings["id"]), self._meter, stream)

    @hookimpl
    def anyformer_step_ended(self, line: Mapping[str, Any]) -> None:
        """Show a line of the log."""
        if self._meter is not None and self._view is not None:
            self._meter.take(line)
            self._view.show(self._meter)

    @hookimpl
    def anyformer_checkpoint_saved(self, checkpoint: Path) -> None:
        """Say it with the next line."""
        if self._meter is not None:
            self._meter.step = self._meter.saved = int(checkpoint.name)

    @hookimpl
    def anyformer_run_warned(self, warning: str) -> None:
        """Show it; before a run has started, on a line of its own."""
        if self._view is not None:
            self._view.warn(warning)
        else:
            (self._stream or sys.stderr).write(f"warning: {warning}\n")

    @hookimpl
    def anyformer_run_ended(self, reason: str) -> None:
        """Put the terminal back as it was."""
        if self._meter is not None and self._view is not None:
            self._view.end(self._meter, reason)
        self._meter = self._view = None


def _full_rate(settings: Mapping[str, Any]) -> float | None:
    """Tokens per second at the peak of the run's GPU, where run.yaml says what a token costs; None where that is unknown."""
    cost = settings.get("flops_per_token")
    if not cost:
        return None
    from anyformer.plan.devices import peak_of_run

    peak = peak_of_run(settings["settings"]["training"])
    return None if peak is None else peak / cost
