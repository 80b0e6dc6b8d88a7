"""What an evaluation found, as JSON and as text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

FP32 = "fp32"
"""The precision that a lower one stands beside."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model on data, beside its baselines."""

    task: str
    model: str
    data: str
    records: int
    scores: dict[str, dict[str, float]]
    """By metric: value, low, high (95 % interval)."""
    baselines: dict[str, dict[str, float]]
    """By method and metric."""
    verdict: str
    """`skill` or `no skill`."""
    reason: str
    """The verdict in a sentence."""
    precision: dict[str, Any] | None = None
    """None where none was asked for; else `name` and `seconds` (of answering, by precision), and for a low one `beside`
    (`{"fp32": {metric: value}}`) and `difference` of the deciding metric from it: metric, value, low, high."""

    @property
    def metric(self) -> str:
        """The deciding metric."""
        return next(iter(self.scores))

    def as_dict(self) -> dict[str, Any]:
        """As JSON values: a score that is not defined is null. A precision that was not asked for is left out."""
        values: dict[str, Any] = json_values(vars(self))
        if self.precision is None:
            del values["precision"]
        return values

    def __str__(self) -> str:
        width = max(len(name) for name in ["baseline", *self.baselines])
        told = self.precision or {}
        beside = told.get("beside", {})
        lines = [f"{self.task} on {self.data}: {self.records} records"]
        for metric, score in self.scores.items():
            value, low, high = (_shown(score[name]) for name in ("value", "low", "high"))
            lines.append(f"  {metric}: {value}  (95 %: {low} to {high})")
            for name, values in beside.items():
                gain = _signed(_minus(score["value"], values[metric]))
                lines.append(f"    {name:<{width}}  {_shown(values[metric])}  ({told['name']} differs by {gain})")
            for name, values in self.baselines.items():
                lines.append(f"    {name:<{width}}  {_shown(values[metric])}")
        return "\n".join([*lines, f"  {self.verdict}: {self.reason}", *self._precision_lines()])

    def _precision_lines(self) -> Iterator[str]:
        """What a precision costs and what it takes."""
        if self.precision is None:
            return
        if "difference" in self.precision:
            found = self.precision["difference"]
            value, low, high = (_signed(found[name]) for name in ("value", "low", "high"))
            yield f"  {self.precision['name']} beside {FP32}: {found['metric']} {value}  (95 %: {low} to {high})"
        yield "  time: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self.precision["seconds"].items())


def json_values(value: Any) -> Any:
    """A value of nested dicts with null for each number that JSON cannot carry: NaN and the infinities."""
    if isinstance(value, dict):
        return {name: json_values(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shown(value: float | None) -> str:
    return "undefined" if value is None or math.isnan(value) else f"{value:.4f}"


def _signed(value: float | None) -> str:
    return "undefined" if value is None or math.isnan(value) else f"{value:+.4f}"


def _minus(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other
