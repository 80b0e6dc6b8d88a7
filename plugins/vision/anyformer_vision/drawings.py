"""Pictures of answers, as matplotlib figures that need no screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from anyformer.task import Array
from anyformer_vision.thumbnails import thumbnail

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ANSWER, TRUTH, OTHER = "#2f6fab", "#2e8b57", "#b8c4ce"
MAX_BARS = 12
"""More labels than this are left out of a picture, and their number is said."""
MAX_SIDE = 512
"""A photograph is reduced before it is drawn."""


def draw_labels(pixels: Array, scores: Mapping[str, float], truth: str | None) -> Figure:
    """The image, uint8 [H, W, 3], beside bars of label probabilities; the true label is green and says so."""
    from matplotlib.figure import Figure

    shown = dict(list(scores.items())[:MAX_BARS])
    if truth is not None:
        shown.setdefault(truth, scores.get(truth, 0.0))
    figure = Figure(figsize=(7, max(2.4, 0.8 + 0.3 * len(shown))), layout="constrained")
    picture, bars = figure.subplots(1, 2, width_ratios=(1, 2))
    picture.imshow(thumbnail(pixels, MAX_SIDE), interpolation="nearest")
    picture.set_axis_off()
    colours = [TRUTH if label == truth else ANSWER if place == 0 else OTHER for place, label in enumerate(shown)]
    drawn = bars.barh(range(len(shown)), list(shown.values()), color=colours)
    bars.bar_label(drawn, fmt="%.2f", padding=3)
    bars.set_yticks(range(len(shown)), [_name(label, label == truth) for label in shown])
    bars.invert_yaxis()
    bars.set_xlim(0, 1.15)
    left_out = len(scores) - len(shown)
    bars.set_xlabel("probability" + (f" ({left_out} smaller ones not shown)" if left_out > 0 else ""))
    bars.spines[["top", "right"]].set_visible(False)
    return figure


def _name(label: str, true: bool) -> str:
    """A label as matplotlib shows it: cut with a mark, `$` as itself."""
    cut = label if len(label) <= 30 else label[:30] + "..."
    return cut.replace("$", r"\$") + (" (truth)" if true else "")
