"""Pictures of detections: the image with the boxes found and, dashed, the true ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from anyformer.task import Array
from anyformer_vision.boxes import Box, Found
from anyformer_vision.drawings import MAX_SIDE, TRUTH
from anyformer_vision.thumbnails import thumbnail

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#2f6fab", "#c8553d", "#8e5ea2", "#d99a2b", "#3aa6a0", "#7a7a7a")
"""Of labels in order of their first box, and again from the start."""
MAX_BOXES = 50
"""Detections after the surest ones are left out of a picture, and their number is said."""


def draw_boxes(pixels: Array, found: Sequence[Found], truth: Sequence[Box] | None) -> Figure:
    """The image, uint8 [H, W, 3], with labels and scores; `truth` is dashed and green, a crowd dotted."""
    from matplotlib.figure import Figure

    shown = found[:MAX_BOXES]
    height, width = pixels.shape[:2]
    figure = Figure(figsize=(7, min(10, max(3, 7 * height / width)) + 0.4), layout="constrained")
    picture = figure.subplots()
    picture.imshow(thumbnail(pixels, MAX_SIDE), extent=(0, width, height, 0), interpolation="nearest")
    picture.set_axis_off()
    for true in truth or ():
        _rectangle(picture, true.box, TRUTH, ":" if true.crowd else "--")
        _name(picture, true.box[0], true.box[3], true.label, TRUTH, "top")
    labels = list(dict.fromkeys(one.label for one in shown))
    for one in reversed(shown):  # the surest on top
        colour = COLOURS[labels.index(one.label) % len(COLOURS)]
        _rectangle(picture, one.box, colour, "-")
        _name(picture, one.box[0], one.box[1], f"{one.label} {one.score:.2f}", colour, "bottom")
    said = f"{len(found)} found" if len(found) == len(shown) else f"the {len(shown)} surest of {len(found)} found"
    picture.set_title(said + ("" if truth is None else f", {len(truth)} true (dashed)"), fontsize=9)
    picture.set_xlim(0, width)
    picture.set_ylim(height, 0)
    return figure


def _rectangle(picture: Any, box: tuple[float, float, float, float], colour: str, line: str) -> None:
    from matplotlib.patches import Rectangle

    left, top, right, bottom = box
    picture.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, color=colour, linestyle=line))


def _name(picture: Any, left: float, edge: float, text: str, colour: str, side: str) -> None:
    """A label at an edge of its box, cut with a mark, `$` as itself."""
    cut = (text if len(text) <= 40 else text[:30] + "..." + text[-5:]).replace("$", r"\$")
    frame = {"facecolor": colour, "edgecolor": "none", "pad": 1, "alpha": 0.8}
    picture.text(left, edge, cut, color="white", fontsize=6, verticalalignment=side, bbox=frame, clip_on=True)
