"""Pictures of answers: what a task draws, as PNG inside the page.

* Records are taken at even distances, not chosen by how well they went.
* A picture that cannot be made leaves one line with the reason in its place; a report never ends a run.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyformer.infer.pipeline import Pipeline
from anyformer.plugins.guard import one_line
from anyformer.report.markup import Markup, tag
from anyformer.task import Record

DPI = 144
WIDE = 760
"""Pixels of a page, from which a picture is not set beside another."""
MAX_PIXELS = 2400
"""Of the longer side; a larger figure is drawn at fewer dots per inch."""


@dataclass(frozen=True)
class Picture:
    """A drawn answer, or why there is none."""

    caption: str
    png: bytes = b""
    width: int = 0
    """In pixels of a page, not of the image, which is finer."""
    problem: str = ""


def pictures(pipeline: Pipeline, records: Sequence[Record[Any, Any]], count: int) -> list[Picture]:
    """Pictures of at most `count` records at even distances, the first one among them."""
    places = np.unique(np.linspace(0, max(len(records) - 1, 0), min(count, len(records))).astype(int))
    return [_picture(pipeline, records, place) for place in places.tolist()]


def figure(picture: Picture) -> Markup:
    """A picture with its caption as HTML; a wide one takes a row of its own."""
    if picture.problem:
        return tag("figure", tag("p", picture.problem, class_="problem"), tag("figcaption", picture.caption))
    source = "data:image/png;base64," + base64.b64encode(picture.png).decode()
    image = tag("img", src=source, alt=picture.caption, width=picture.width)
    wide = "whole" if picture.width > WIDE else None
    return tag("figure", image, tag("figcaption", picture.caption), class_=wide)


def _picture(pipeline: Pipeline, records: Sequence[Record[Any, Any]], place: int) -> Picture:
    caption = f"Held-out record {place + 1:,} of {len(records):,}"
    try:
        record = records[place]
        drawn = pipeline.task.draw(record.input, pipeline(record.input), record.target)
        png, width, whole = _png(drawn)
    except Exception as error:  # a task's code: whatever it raises is told in the picture's place
        return Picture(caption, problem=_problem(error))
    if not whole:
        caption += "; a box stands for a character that the font of the picture lacks"
    return Picture(caption, png, width)


def _png(drawn: Any) -> tuple[bytes, int, bool]:
    """A matplotlib figure as PNG, its width in pixels of a page, and whether its font has all its characters."""
    if not hasattr(drawn, "savefig"):
        raise ValueError(f"draw returned {type(drawn).__name__}, not a matplotlib Figure")
    width, height = drawn.get_size_inches()
    buffer = io.BytesIO()
    with warnings.catch_warnings(record=True) as warned:
        warnings.filterwarnings("always", message="Glyph .* missing from")
        drawn.savefig(buffer, format="png", dpi=min(DPI, MAX_PIXELS / max(width, height)))
    lacking = [warning for warning in warned if "missing from" in str(warning.message)]
    for other in (warning for warning in warned if warning not in lacking):
        warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
    return buffer.getvalue(), round(width * 96), not lacking


def _problem(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == "matplotlib":
        return "No picture: matplotlib is not installed; to install it: pip install matplotlib"
    return f"No picture: {one_line(error)}"
