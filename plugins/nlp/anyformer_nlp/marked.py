"""A picture of a text with pieces of it marked: where an answer stands, and where it should."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from anyformer_nlp.drawings import ANSWER, TRUTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 84
"""Characters of a line."""
MAX_CHARACTERS = 1500
"""More of a text is not shown; what is shown has the first mark in it."""
SIZE = 10
"""Of the letters, in points."""
ADVANCE = 0.602
"""Width of every letter of matplotlib's own monospaced font, as a share of its size."""
LINE = 1.7
"""Height of a line, as a share of the size."""

_WORD = re.compile(r"\S+")
Span = tuple[int, int]


def draw_marked(question: str, context: str, answer: Span | None, truths: Sequence[Span] | None) -> Figure:
    """The context under its question: the answer on a blue ground, true answers underlined in green.

    Spans are characters [from, to). Without a mark it is said that there is no answer; `truths` is None where unknown.
    """
    from matplotlib.figure import Figure

    heads = [(line, "black") for line in textwrap.wrap(_plain(question[:MAX_CHARACTERS]), COLUMNS)]
    heads.append(("no answer is given" if answer is None else "the answer given, on blue", ANSWER))
    if truths is not None:
        heads.append(("the truth, underlined" if truths else "the truth: there is no answer", TRUTH))
    lines = _lines(context, [*([answer] if answer else []), *(truths or [])])
    heads.append(("..." if lines and lines[0][0] else "", "gray"))
    tails = [("...", "gray")] if lines and lines[-1][1] < len(context.rstrip()) else []
    num_lines = len(heads) + len(lines) + len(tails)
    width, height = COLUMNS + 4, (num_lines + 1) * LINE
    figure = Figure(figsize=(width * ADVANCE * SIZE / 72, height * SIZE / 72))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(-2, width - 2), ylim=(num_lines, -1))
    axes.set_axis_off()
    body = [(_plain(context[start:end]), "black") for start, end in lines]
    style: dict[str, Any] = {"family": "DejaVu Sans Mono", "fontsize": SIZE, "va": "center", "parse_math": False}
    for row, (text, color) in enumerate([*heads, *body, *tails]):
        # Word by word: letters are rounded to pixels, and a whole line would drift away from its marks.
        for word in _WORD.finditer(text):
            axes.text(word.start(), row, word.group(), color=color, **style)
    for row, line in enumerate(lines, start=len(heads)):
        for span in [answer] if answer else []:
            _mark(axes, row, line, span, (-0.42, 0.42), ANSWER, 0.35)
        for span in truths or []:
            _mark(axes, row, line, span, (0.34, 0.44), TRUTH, 1.0)
    return figure


def _lines(context: str, marks: Sequence[Span]) -> list[Span]:
    """The characters [from, to) of each line that is shown: cut at white space where there is any.

    A text of more than `MAX_CHARACTERS` is shown from a little before its first mark on.
    """
    first = min((start for start, _ in marks), default=0)
    begin = 0 if len(context) <= MAX_CHARACTERS else max(0, first - MAX_CHARACTERS // 3)
    stop = min(len(context), begin + MAX_CHARACTERS)
    lines = []
    while begin < stop:
        end = min(begin + COLUMNS, stop)
        newline = context.find("\n", begin, end)
        spaces = [place for place in range(begin, end) if context[place].isspace()]
        if newline >= 0:
            end = newline + 1
        elif end < stop and spaces:
            end = spaces[-1] + 1
        lines.append((begin, end))
        begin = end
    return lines


def _mark(axes: Axes, row: int, line: Span, span: Span, edges: tuple[float, float], color: str, alpha: float) -> None:
    """A box over the part of a span that stands on a line, if there is one; `edges` are its top and bottom in lines."""
    start, end = max(line[0], span[0]), min(line[1], span[1])
    if start < end:
        left, top, bottom = start - line[0], *edges
        axes.fill_between([left, left + end - start], row + top, row + bottom, color=color, alpha=alpha, linewidth=0)


def _plain(text: str) -> str:
    """Each character as one that is printed: white space and control characters as a space."""
    return "".join(character if character.isprintable() else " " for character in text)
