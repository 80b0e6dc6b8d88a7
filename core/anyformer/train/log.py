"""metrics.jsonl: one line for each logged step, each evaluation and nothing twice."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

NAME = "metrics.jsonl"


class Log:
    """The lines of a run, appended and cut back to a checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def write(self, line: dict[str, Any]) -> None:
        """Append a line; a number that is not finite, which JSON cannot carry, is null."""
        bad = {key for key, value in line.items() if isinstance(value, float) and not math.isfinite(value)}
        plain = {key: None if key in bad else value for key, value in line.items()}
        with self.path.open("a") as file:
            file.write(json.dumps(plain, allow_nan=False) + "\n")

    def sync(self) -> None:
        """Wait until all lines are on disk: called before the checkpoint that stands for them."""
        if self.path.exists():
            with self.path.open("rb") as file:
                os.fsync(file.fileno())

    def cut(self, step: int) -> None:
        """Drop what was written after `step`, and a last line that a kill left unfinished."""
        kept = [line for line in self.lines() if line["step"] <= step]
        aside = self.path.with_suffix(".writing")
        with aside.open("w") as file:
            file.writelines(json.dumps(line) + "\n" for line in kept)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self.path)

    def lines(self) -> list[dict[str, Any]]:
        """All whole lines."""
        found = []
        if self.path.exists():
            for text in self.path.read_text().splitlines():
                try:
                    found.append(json.loads(text))
                except ValueError:
                    break
        return found
