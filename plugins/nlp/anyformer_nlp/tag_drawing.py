"""Pictures of tagged words, as matplotlib figures that need no screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from anyformer_nlp.tags import OUTSIDE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = ("#2f6fab", "#c8553d", "#2e8b57", "#8e6bbf", "#b8860b", "#c2578f", "#3c8d93", "#6b705c")
GRAY = "#8a949c"
LINE = 124
"""Characters of a line."""
MAX_WORDS = 200
"""More words than this are left out of a picture, and their number is said."""


def draw_tags(words: Sequence[str], tags: Sequence[str], truth: Sequence[str] | None) -> Figure:
    """The words in lines, the tag of each below it in the color of its label; a true tag that differs stands below that.

    O is not written where nothing disagrees.
    """
    from matplotlib.figure import Figure

    cells = _cells(words, tags, truth)
    num_lines = cells[-1][0] + 1 if cells else 1
    height = 0.5 + 0.75 * num_lines
    figure = Figure(figsize=(10, height))
    axes = figure.add_axes((0.01, 0, 0.98, 1))
    axes.set_axis_off()
    axes.set_xlim(0, LINE)
    axes.set_ylim(height, 0)
    labels = sorted({_label(tag) for tag in [*tags, *(truth or ())]} - {OUTSIDE})
    color_of = {OUTSIDE: GRAY} | {label: COLORS[place % len(COLORS)] for place, label in enumerate(labels)}
    style: dict[str, Any] = {"family": "monospace", "va": "baseline", "parse_math": False}
    for line, column, word, tag, true in cells:
        top = 0.4 + 0.75 * line
        axes.text(column, top, word, fontsize=9, color="black", **style)
        if tag != OUTSIDE or true is not None:
            axes.text(column, top + 0.2, tag, fontsize=7, color=color_of[_label(tag)], **style)
        if true is not None:
            axes.text(column, top + 0.38, f"truth: {true}", fontsize=7, color=color_of[_label(true)], **style)
    if len(words) > MAX_WORDS:
        note = f"{len(words) - MAX_WORDS} more words not shown"
        axes.text(LINE, height - 0.05, note, ha="right", va="bottom", fontsize=7, color=GRAY)
    return figure


def _cells(
    words: Sequence[str], tags: Sequence[str], truth: Sequence[str] | None
) -> list[tuple[int, float, str, str, str | None]]:
    """Line, column, word, tag, and the true tag where it differs, of each word that is shown."""
    cells: list[tuple[int, float, str, str, str | None]] = []
    line, column = 0, 0.0
    for place, (word, tag) in enumerate(zip(words[:MAX_WORDS], tags, strict=False)):
        true = truth[place] if truth is not None and truth[place] != tag else None
        shown = "".join(character if character.isprintable() else " " for character in word)
        shown = shown if len(shown) <= 30 else shown[:30] + "..."
        below = "" if tag == OUTSIDE and true is None else tag
        # A word takes its own width, or that of the smaller letters below it, whichever is greater.
        width = max(len(shown), 0.8 * len(below), 0.8 * len(f"truth: {true}") if true is not None else 0) + 1.2
        if column and column + width > LINE:
            line, column = line + 1, 0.0
        cells.append((line, column, shown, tag, true))
        column += width
    return cells


def _label(tag: str) -> str:
    """Of an entity, what it is; of any other tag, itself."""
    return tag.partition("-")[2] or tag
