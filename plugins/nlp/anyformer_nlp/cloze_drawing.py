"""Pictures of filled marks, as matplotlib figures that need no screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anyformer_nlp.drawings import ANSWER, OTHER, TRUTH

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_GAPS, MAX_BARS = 6, 8
"""More marks, and more candidates of a mark, are left out of a picture; the number of marks left out is said."""


def draw_gaps(text: str, gaps: Sequence[Sequence[tuple[str, float]]], truth: Sequence[str] | None) -> Figure:
    """For each mark, horizontal bars of its candidates (token, probability), the greatest on top; the true one is green."""
    from matplotlib.figure import Figure

    shown = gaps[:MAX_GAPS]
    num_bars = [min(len(gap), MAX_BARS) for gap in shown]
    figure = Figure(figsize=(6, 1.0 + sum(0.7 + 0.28 * count for count in num_bars)), layout="constrained")
    left_out = f" ({len(gaps) - MAX_GAPS} more marks not shown)" if len(gaps) > MAX_GAPS else ""
    figure.suptitle(_shown(text, 140) + left_out, fontsize=10, parse_math=False, wrap=True)
    rows = figure.subplots(len(shown), 1, squeeze=False, height_ratios=[count + 1.5 for count in num_bars])
    for place, (axes, gap) in enumerate(zip(rows[:, 0], shown, strict=True)):
        tokens = [token for token, _ in gap[:MAX_BARS]]
        true = truth[place].strip() if truth is not None else None
        colors = [TRUTH if token.strip() == true else OTHER if rank else ANSWER for rank, token in enumerate(tokens)]
        bars = axes.barh(range(len(tokens)), [score for _, score in gap[:MAX_BARS]], color=colors)
        axes.bar_label(bars, fmt="%.2f", padding=3)
        axes.set_yticks(range(len(tokens)), [_shown(token, 30) for token in tokens], parse_math=False)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.1)
        title = f"mark {place + 1}" + ("" if true is None else f", truth: {_shown(true, 30)}")
        axes.set_title(title, fontsize=9, loc="left", parse_math=False)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _shown(text: str, longest: int) -> str:
    """A text on one line, what cannot be printed left out, cut with a mark."""
    visible = "".join(character if character.isprintable() else " " for character in text[: longest + 1])
    return visible if len(visible) <= longest else visible[:longest] + "..."
