"""Pictures of answers, as matplotlib figures that need no screen."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ANSWER, TRUTH, OTHER = "#2f6fab", "#2e8b57", "#b8c4ce"
MAX_BARS = 12
"""More labels than this are left out of a picture, and their number is said."""


def draw_labels(text: str, scores: Mapping[str, float], truths: Collection[str]) -> Figure:
    """Horizontal bars of label probabilities, the greatest on top; the true labels are green and say so."""
    from matplotlib.figure import Figure

    shown = dict(list(scores.items())[:MAX_BARS])
    for truth in truths:
        shown.setdefault(truth, scores.get(truth, 0.0))
    figure = Figure(figsize=(6, 1.4 + 0.3 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    colors = [TRUTH if label in truths else ANSWER if place == 0 else OTHER for place, label in enumerate(shown)]
    names = [_plain(f"{label} (truth)" if label in truths else label, 30) for label in shown]
    bars = axes.barh(range(len(shown)), list(shown.values()), color=colors)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_yticks(range(len(shown)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.1)
    left_out = len(scores) - len(shown)
    axes.set_xlabel("probability" + (f" ({left_out} smaller ones not shown)" if left_out > 0 else ""))
    axes.set_title(_plain(text, 140), fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def draw_number(text: str, value: float, truth: float | None, mean: float, deviation: float) -> Figure:
    """A number on a line, where those of the training part lie (mean and one deviation), and the truth."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 1.9), layout="constrained")
    axes = figure.add_subplot()
    axes.axvspan(mean - deviation, mean + deviation, color=OTHER, alpha=0.4, label="training: mean, deviation")
    axes.axvline(mean, color=OTHER)
    axes.plot([value], [0], "o", color=ANSWER, label=f"answer {value:.4g}")
    if truth is not None:
        axes.plot([truth], [0], "D", color=TRUTH, label=f"truth {truth:.4g}")
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=3, frameon=False, fontsize=9)
    axes.set_title(_plain(text, 140), fontsize=10, loc="left")
    return figure


def draw_texts(texts: Sequence[tuple[str, str]]) -> Figure:
    """Texts under one another, each with its name in front: source, output, truth."""
    from matplotlib.figure import Figure

    blocks = [(name, _plain(text, 600)) for name, text in texts]
    lines = [block.count("\n") + 1 for _, block in blocks]
    figure = Figure(figsize=(7, 0.4 + 0.25 * sum(lines) + 0.15 * len(lines)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    height = sum(lines) + 0.6 * len(lines) + 1
    top = height - 1
    for (name, block), num_lines in zip(blocks, lines, strict=True):
        color = TRUTH if name == "truth" else ANSWER if name == "output" else "black"
        axes.text(0.02, top / height, name, va="top", fontsize=10, color="gray")
        axes.text(0.14, top / height, block, va="top", fontsize=10, color=color)
        top -= num_lines + 0.6
    return figure


def _plain(text: str, longest: int) -> str:
    """A text as matplotlib shows it: control characters out, `$` as itself, wrapped, cut with a mark."""
    visible = "".join(character if character.isprintable() else " " for character in text[: longest + 1])
    cut = visible if len(visible) <= longest else visible[:longest] + "..."
    return textwrap.fill(cut, 70).replace("$", r"\$") or " "
