"""The page of `anyformer demo`: what every plugin learned, a picture of each, and the way to each run's own page."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from anyformer.report.markup import Markup, section, table, tag, write_page
from anyformer.report.pictures import figure
from anyformer.report.row import COLUMNS, Row
from anyformer.report.run import NAME, environment
from anyformer.report.scores import verdict_class
from anyformer.report.words import duration


def write_demo(folder: Path, rows: Iterable[Row]) -> Path:
    """Write `report.html` into the folder of a demo and return its path."""
    shown = list(rows)
    learned = [row for row in shown if row.state == "done"]
    seconds = sum(row.seconds for row in shown)
    skilled = sum(row.verdict == "skill" for row in learned)
    said = (
        f"{len(learned)} of {len(shown)} tasks were trained from scratch in {duration(seconds)}. {skilled} of them do "
        "better than the best trivial method on the same held-out records."
    )
    return write_page(
        folder / NAME,
        "anyformer demo",
        tag("h1", "What the installed plugins learn"),
        tag("p", said),
        table(COLUMNS, map(_cells, shown), numbers=(3, 6)),
        *(_task(row) for row in shown),
        section("Environment", table((), environment())),
    )


def _cells(row: Row) -> list[object]:
    task, *between, verdict, seconds = row.cells()
    link = tag("a", task, href=_href(row)) if row.state == "done" else task
    return [link, *between, tag("td", verdict, class_=verdict_class(row.verdict) or "bad"), seconds]


def _task(row: Row) -> Markup:
    if row.state != "done":
        return section(row.task, tag("p", row.reason, class_="problem"))
    return section(
        row.task,
        tag("p", tag("strong", f"{row.verdict.capitalize()}:"), f" {row.reason}.", class_=verdict_class(row.verdict)),
        tag("p", tag("a", "The run's own page", href=_href(row))),
        None if row.picture is None else figure(row.picture),
    )


def _href(row: Row) -> str:
    return f"{quote(row.task)}/{NAME}"
