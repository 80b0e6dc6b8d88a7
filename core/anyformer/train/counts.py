"""What is counted between two lines of the log, and the line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """What came of one step, over all ranks."""

    step: int
    losses: Sequence[float]
    """Of each course: the mean over its samples."""
    taught: Sequence[bool]
    """For each course, whether it had anything to learn from."""
    tokens: int
    norm: float
    """Of the gradient, before it was clipped."""

    @property
    def skipped(self) -> bool:
        """Whether the update was left out, for a loss or a gradient that is not finite."""
        return self.tokens > 0 and not (math.isfinite(self.norm) and self.finite)

    @property
    def finite(self) -> bool:
        """Whether the losses are."""
        return all(map(math.isfinite, self.losses))


@dataclass
class Progress:
    """Saved with a checkpoint, so that lines do not depend on stops."""

    losses: list[float] = field(default_factory=list)
    """Sums since the last line, of each course."""
    steps: list[int] = field(default_factory=list)
    """How many losses were added up, of each course."""
    tokens: int = 0
    records: int = 0
    skipped: int = 0
    """Updates left out in all, for a non-finite gradient."""
    skipped_in_a_row: int = 0
    bad_records: dict[str, list[int]] = field(default_factory=dict)
    """Records left out in all, by component: each once, however often it was met."""
    samples: str = ""
    """A hash of all samples so far, where the settings ask for it."""

    def count(self, outcome: Outcome, records: int) -> None:
        """Count a step."""
        self.tokens += outcome.tokens
        self.records += records
        self.losses = self.losses or [0.0] * len(outcome.losses)
        self.steps = self.steps or [0] * len(outcome.losses)
        if outcome.skipped:
            self.skipped += 1
            self.skipped_in_a_row += 1
        elif outcome.tokens:
            self.skipped_in_a_row = 0
            for course, (loss, taught) in enumerate(zip(outcome.losses, outcome.taught, strict=True)):
                self.losses[course] += loss if taught else 0.0
                self.steps[course] += taught

    def line(self, outcome: Outcome, components: Sequence[str], shares: Sequence[float], rate: float, seconds: float
    ) -> dict[str, Any]:  # fmt: skip
        """The line for the log after a step; the means of the losses begin anew."""
        means = [loss / steps if steps else None for loss, steps in zip(self.losses, self.steps, strict=True)]
        there = [(mean, share) for mean, share in zip(means, shares, strict=True) if mean is not None]
        line: dict[str, Any] = {
            "step": outcome.step + 1,
            "train/loss": sum(mean * share for mean, share in there) if there else None,
        }
        if len(components) > 1:
            line |= {f"train/loss/{component}": mean for component, mean in zip(components, means, strict=True)}
        line |= {
            "lr": rate,
            "grad_norm": outcome.norm if math.isfinite(outcome.norm) else None,
            "tokens": self.tokens,
            "records": self.records,
            "skipped": self.skipped,
            "bad_records": sum(map(len, self.bad_records.values())),
            "seconds": round(seconds, 3),
        }
        if self.samples:
            line["samples"] = self.samples
        self.losses, self.steps = [], []
        return line
