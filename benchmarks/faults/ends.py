"""Runs in processes of their own, how they end, and what becomes of them when they are resumed."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyformer.testing.faults import forked
from benchmarks.faults.systems import Listener, System

Row = dict[str, Any]
"""Figures of a case, and in `said` a sentence."""


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    said: str

    @property
    def last(self) -> str:
        """The last line it said, without the name of the temporary folder."""
        line = (self.said.strip().splitlines() or [""])[-1][:300]
        return re.sub(rf"{re.escape(tempfile.gettempdir())}/[^/\s]+/", "", line)


def ended(call: Callable[[], Any], folder: Path) -> Ended:
    """Make a call in another process."""
    path = folder.with_name(folder.name + ".said")
    code = forked(call, path)
    return Ended(code, path.read_text(errors="replace"))


def whole(system: System, folder: Path, **options: Any) -> Path:
    """A run that nothing disturbs."""
    if not folder.exists():
        found = ended(lambda: system.begin(folder, Listener(), **options), folder)
        assert found.code == 0, f"{system.name} failed by itself: {found.said}"
    return folder


def recovery(system: System, folder: Path, undisturbed: Path, **options: Any) -> tuple[Row, str]:
    """What becomes of a run that is resumed, and what it says."""
    found = ended(lambda: system.resume(folder, Listener(), **options), folder)
    done = found.code == 0
    same = done and system.digest(folder) == system.digest(undisturbed)
    log = done and system.lines(folder) == system.lines(undisturbed)
    return {"resumed": done, "same_weights": same, "whole_log": log, "said": found.last}, found.said
