"""Variants of one job, timed in turns, so that whatever else the machine does meets all of them alike.

* Each round runs every variant once, in the order of the round before turned around. The first warms up and does not count.
* What counts is the ratio of two rates of the same round: its median over the rounds, and its quartiles.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.apart import Apart


@dataclass(frozen=True)
class Spread:
    """A median and the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Of two values or more, by linear interpolation between them."""
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


@dataclass(frozen=True)
class Row:
    """What one variant reached."""

    rates: list[float]
    """By round, more is better."""
    rate: Spread
    ratio: Spread
    """To the baseline of the same round."""


def interleave(functions: Mapping[str, Callable[[], float]], rounds: int, baseline: str) -> dict[str, Row]:
    """Run every variant once a round, `rounds` times after one to warm up; each returns its rate, where more is better."""
    assert baseline in functions
    rates: dict[str, list[float]] = {name: [] for name in functions}
    order = list(functions)
    for index in range(rounds + 1):
        for name in order:
            rate = functions[name]()
            if index:
                rates[name].append(rate)
        order.reverse()
    return {name: Row(found, Spread.of(found), ratio(rates, name, baseline)) for name, found in rates.items()}


def interleave_apart(makers: Mapping[str, tuple[Any, ...]], rounds: int, baseline: str) -> dict[str, Row]:
    """`interleave`, of functions that live each in a process of its own: by name what makes one, and what it is given."""
    with ExitStack() as opened:
        functions = {name: opened.enter_context(Apart(*maker)) for name, maker in makers.items()}
        return interleave(functions, rounds, baseline)


def ratio(rates: Mapping[str, list[float]], name: str, baseline: str) -> Spread:
    """How much faster one variant is than another, round by round."""
    return Spread.of([own / other for own, other in zip(rates[name], rates[baseline], strict=True)])


def between(rows: Mapping[str, Row], name: str, baseline: str) -> Spread:
    """`ratio`, of rows that stand beside another baseline."""
    return ratio({key: row.rates for key, row in rows.items()}, name, baseline)


def show(rows: Mapping[str, Row], unit: str) -> None:
    """Print a line for each variant: its rate, and its ratio to the baseline."""
    width = max(map(len, rows))
    for name, row in rows.items():
        print(f"{name:<{width}}  {row.rate} {unit}   x {row.ratio}")


def as_json(rows: Mapping[str, Row]) -> dict[str, Any]:
    """Rows as JSON values."""
    return {name: asdict(row) for name, row in rows.items()}
