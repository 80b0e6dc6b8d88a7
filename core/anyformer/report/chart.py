"""Small charts as inline SVG: lines over steps, and scores with their intervals.

* Values that are not finite leave a gap; they are never drawn as zero.
* A scale may be logarithmic: where all values are positive and the greatest is more than `LOG_FROM` times the least. It
  says so.
* Colours are classes (`ours`, `other`) of the page's style, so that charts follow light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from anyformer.report.markup import Markup, join, tag
from anyformer.report.words import number

LOG_FROM = 50.0
MAX_POINTS = 400
"""Points of a line; more are averaged in runs of equal length."""
WIDTH, HEIGHT = 560, 230
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 14, 34
ROW = 26
"""Height of one method in a chart of scores."""

Point = tuple[float, float | None]


@dataclass(frozen=True)
class Line:
    """A series of points in order, as `ours` (a solid line) or `other` (a line with a dot at each point)."""

    name: str
    points: Sequence[Point]
    kind: str = "ours"


@dataclass(frozen=True)
class Score:
    """One method's row in a chart of scores; an interval where it has one."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    ours: bool = False

    def ends(self) -> list[float]:
        """What must be on the chart: the value and its interval, as far as they are finite; nothing without a value."""
        if self.value is None or not math.isfinite(self.value):
            return []
        return [end for end in (self.value, self.low, self.high) if end is not None and math.isfinite(end)]


@dataclass(frozen=True)
class Scale:
    """From values to places between `start` and `end` on the page."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def over(cls, values: Iterable[float], start: float, end: float, may_log: bool = False) -> Scale:
        """A scale that holds all values with a little room; there must be one at least."""
        known = list(values)
        low, high = min(known), max(known)
        if may_log and low > 0 and high / low > LOG_FROM:
            return cls(low / 1.15, high * 1.15, start, end, True)
        room = (high - low) * 0.06 or max(abs(high) * 0.1, 1e-9)
        return cls(low - room, high + room, start, end)

    def __call__(self, value: float) -> float:
        """Where a value is on the page."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return round(self.start + (value - low) / (high - low) * (self.end - self.start), 1)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values on the scale, about `count` of them."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)))
            tens = [10.0**power for power in powers[1:]]
            if len(tens) > 2:
                return tens[:: math.ceil(len(tens) / count)]
            marks = (m * 10.0**power for power in powers for m in (1, 2, 5))
            return [tick for tick in marks if self.low <= tick <= self.high]
        rough = (self.high - self.low) / count
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
        first = math.ceil(self.low / step)
        found = [place * step for place in range(first, math.floor(self.high / step) + 1)]
        return [0.0 if abs(tick) < step / 1e6 else tick for tick in found]


def line_chart(title: str, lines: Sequence[Line], may_log: bool = True) -> Markup | None:
    """Lines over steps as one `<figure>`; None where no point has a finite value."""
    thinned = [(line, thin(line.points)) for line in lines]
    known = [(x, y) for _, points in thinned for x, y in points if y is not None]
    if not known:
        return None
    across = Scale.over((x for x, _ in known), LEFT, WIDTH - RIGHT)
    up = Scale.over((y for _, y in known), HEIGHT - BOTTOM, TOP, may_log)
    parts: list[Markup] = []
    for tick in up.ticks():
        y = up(tick)
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", _tick(tick), x=LEFT - 8, y=y + 4, text_anchor="end"))
    for tick in (tick for tick in across.ticks(6) if tick >= 0):
        parts.append(tag("text", _tick(tick), x=across(tick), y=HEIGHT - BOTTOM + 18, text_anchor="middle"))
    for line, points in thinned:
        parts.append(tag("path", d=_path(points, across, up), class_=f"line {line.kind}"))
        if line.kind == "other" or len(points) == 1:
            parts += [
                _dot(across(x), up(y), line.kind, f"{number(y)} at step {x:,g}") for x, y in points if y is not None
            ]
    caption = "over steps" + (", log scale" if up.log else "") + _averaged(lines)
    heading = tag("h3", title, *_legend(lines))
    return tag("figure", heading, _svg(parts, HEIGHT, f"{title} {caption}"), tag("figcaption", caption))


def score_chart(title: str, scores: Sequence[Score], note: str = "") -> Markup | None:
    """A dot for each method, with its interval where it has one, as one `<figure>`; None where no value is finite."""
    ends = [end for score in scores for end in score.ends()]
    if not ends:
        return None
    left = min(200, 24 + max(7 * len(_cut(score.name)) for score in scores))
    across = Scale.over(ends, left, WIDTH - 76)
    bottom = TOP + ROW * len(scores)
    parts: list[Markup] = []
    for tick in across.ticks():
        x = across(tick)
        parts.append(tag("line", x1=x, x2=x, y1=TOP, y2=bottom, class_="grid"))
        parts.append(tag("text", _tick(tick), x=x, y=bottom + 18, text_anchor="middle"))
    for place, score in enumerate(scores):
        parts += _row(score, TOP + ROW * (place + 0.5), left, across)
    drawn = _svg(parts, bottom + 24, f"{title}: the model beside its baselines")
    return tag("figure", tag("h3", title), drawn, tag("figcaption", note) if note else None)


def thin(points: Sequence[Point]) -> list[Point]:
    """At most `MAX_POINTS` points: means of runs of equal length, None where a run has no finite value."""
    size = math.ceil(len(points) / MAX_POINTS) or 1
    found: list[Point] = []
    for first in range(0, len(points), size):
        run = points[first : first + size]
        values = [y for _, y in run if y is not None and math.isfinite(y)]
        found.append((run[-1][0], sum(values) / len(values) if values else None))
    return found


def _row(score: Score, y: float, left: int, across: Scale) -> list[Markup]:
    kind = "ours full" if score.ours else "other"
    strong = "strong" if score.ours else None
    parts = [tag("text", _cut(score.name), x=left - 16, y=y + 4, text_anchor="end", class_=strong)]
    parts.append(tag("text", number(score.value), x=WIDTH - 8, y=y + 4, text_anchor="end", class_=strong))
    if not (ends := score.ends()):
        return parts
    value, said = ends[0], f"{score.name}: {number(score.value)}"
    if len(ends) == 3:
        _, low, high = ends
        said += f" (95 %: {number(low)} to {number(high)})"
        parts.append(tag("line", x1=across(low), x2=across(high), y1=y, y2=y, class_=f"span {kind}"))
    return [*parts, _dot(across(value), y, kind, said)]


def _dot(x: float, y: float, kind: str, said: str) -> Markup:
    return tag("circle", tag("title", said), cx=x, cy=y, r=4 if "full" in kind else 3.2, class_=f"dot {kind}")


def _path(points: Sequence[Point], across: Scale, up: Scale) -> str:
    """The line through the points, begun anew after a gap."""
    steps, drawing = [], False
    for x, y in points:
        if y is not None:
            steps.append(f"{'L' if drawing else 'M'}{across(x)} {up(y)}")
        drawing = y is not None
    return " ".join(steps)


def _legend(lines: Sequence[Line]) -> list[Markup]:
    """The names of the lines in their colours, where there are several."""
    named = lines if len(lines) > 1 else []
    return [tag("span", f" \N{BLACK CIRCLE} {line.name}", style=f"color: var(--{line.kind})") for line in named]


def _averaged(lines: Sequence[Line]) -> str:
    size = max(math.ceil(len(line.points) / MAX_POINTS) for line in lines)
    return f"; each point is the mean of {size:,} lines of the log" if size > 1 else ""


def _svg(parts: Sequence[Markup], height: float, label: str) -> Markup:
    return tag("svg", join(parts), viewBox=f"0 0 {WIDTH} {height:g}", role="img", aria_label=label)


def _tick(value: float) -> str:
    """A round value without zeros that say nothing."""
    whole = 1000 <= abs(value) < 1e7 and value == round(value)
    return f"{value:,.0f}" if whole else f"{value:.6g}"


def _cut(name: str, longest: int = 26) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"
