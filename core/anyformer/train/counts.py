"""What is counted between two lines of the log, and the line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Progress:
    """Saved with a checkpoint, so that lines do not depend on stops."""

    loss: float = 0.0
    steps: int = 0
    tokens: int = 0
    records: int = 0
    skipped: int = 0
    """Updates left out in all, for a non-finite gradient."""
    skipped_in_a_row: int = 0
    bad_records: list[int] = field(default_factory=list)
    """Records left out in all, by index: each once, however often it was met."""
    samples: str = ""
    """A hash of all samples so far, where the settings ask for it."""

    def skip(self) -> None:
        """Count an update that was left out."""
        self.skipped += 1
        self.skipped_in_a_row += 1

    def take(self, loss: float) -> None:
        """Count an update."""
        self.loss += loss
        self.steps += 1
        self.skipped_in_a_row = 0

    def line(self, step: int, norm: float | None, rate: float, seconds: float) -> dict[str, Any]:
        """The line for the log after `step`; the mean of the loss begins anew."""
        line: dict[str, Any] = {
            "step": step,
            "train/loss": self.loss / self.steps if self.steps else None,
            "lr": rate,
            "grad_norm": norm,
            "tokens": self.tokens,
            "records": self.records,
            "skipped": self.skipped,
            "bad_records": len(self.bad_records),
            "seconds": round(seconds, 3),
        }
        if self.samples:
            line["samples"] = self.samples
        self.loss, self.steps = 0.0, 0
        return line
