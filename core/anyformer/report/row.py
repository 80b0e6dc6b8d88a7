"""A row of `anyformer demo`: what came of one task. Importing it imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from anyformer.report.words import NONE, number

if TYPE_CHECKING:
    from anyformer.report.pictures import Picture

COLUMNS = ("task", "data", "metric", "model", "best baseline", "verdict", "seconds")


@dataclass(frozen=True)
class Row:
    """What came of one task."""

    task: str
    state: Literal["done", "missing", "failed"]
    """`missing`: something it needs is not installed."""
    data: str = ""
    metric: str = ""
    model: float | None = None
    """The value of the deciding metric."""
    low: float | None = None
    high: float | None = None
    baseline: dict[str, Any] | None = None
    """`name` and `value` of the best baseline."""
    verdict: str = ""
    reason: str = ""
    """The verdict in a sentence, or why there is none."""
    seconds: float = 0.0
    run: str = ""
    """The run's folder."""
    picture: Picture | None = None

    def cells(self) -> list[Any]:
        """A line of the table, under `COLUMNS`."""
        best = NONE if self.baseline is None else f"{self.baseline['name']} {number(self.baseline['value'])}"
        known = [self.task, self.data or NONE, self.metric or NONE, number(self.model), best]
        return [*known, self.verdict or self.state, round(self.seconds)]

    def as_dict(self) -> dict[str, Any]:
        """As JSON values, without the picture; what is not finite is null."""
        return {name: _finite(value) for name, value in vars(self).items() if name != "picture"}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
