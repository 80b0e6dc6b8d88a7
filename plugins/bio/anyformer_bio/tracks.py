"""A picture of a sequence and its labels: coloured tracks, letter by letter, in lines that a page can hold.

Matplotlib is imported when something is drawn.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHORTEST_LINE = 40
"""A line has room for so many letters at least."""
USUAL_LINE = 60
"""Letters of a line at most, if the sequence then fits into `MOST_LINES`."""
MOST_LINES = 20
READABLE = 100
"""Lines of more letters than this show colours alone."""

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Track:
    """Labels of a sequence, one letter each; a space is left white."""

    name: str
    labels: str


@dataclass(frozen=True)
class Kind:
    """Labels that share a colour, and the name they have in the legend."""

    name: str
    labels: str
    colour: str


def draw_tracks(
    sequence: Sequence[str], tracks: Sequence[Track], kinds: Sequence[Kind], confidence: Sequence[float]
) -> Figure:
    """The sequence in lines: its letters (or codons), under them the tracks in order, above them the confidence, 0 to 1.

    A label of no kind takes the next of matplotlib's twenty colours. Where two tracks differ, the second is ticked.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    num_lines = min(MOST_LINES, -(-len(sequence) // USUAL_LINE))
    per_line = max(SHORTEST_LINE, -(-len(sequence) // num_lines))
    starts = range(0, len(sequence), per_line)
    palette, legend = _colours(tracks, kinds)
    height = 0.5 + 0.15 * len(sequence[0]) + 0.22 * len(tracks)
    figure = Figure(figsize=(11, 0.5 + len(starts) * height), layout="constrained")
    axes = figure.subplots(len(starts), squeeze=False)[:, 0]
    for axis, start in zip(axes, starts, strict=True):
        _draw_line(axis, range(start, min(start + per_line, len(sequence))), sequence, tracks, palette, confidence)
        axis.set_xlim(start - 0.5, start + per_line - 0.5)
    handles = [Patch(color=colour, label=name) for name, colour in legend.items()]
    figure.legend(handles=handles, loc="outside upper right", ncols=12, frameon=False, fontsize=8)
    return figure


def _draw_line(
    axis: Axes,
    places: range,
    sequence: Sequence[str],
    tracks: Sequence[Track],
    palette: dict[str, Colour],
    confidence: Sequence[float],
) -> None:
    """One line of the picture, in units of a track: tracks hang below 0, letters stand above it, then the confidence."""
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 6, "family": "monospace"}
    readable = len(places) <= READABLE
    for row, track in enumerate(tracks):
        pixels = [[palette[track.labels[place]] for place in places]]
        box = (places.start - 0.5, places.stop - 0.5, -0.9 - row, -0.1 - row)
        axis.imshow(pixels, extent=box, aspect="auto", interpolation="nearest")
        for place in places if readable else ():
            axis.text(place, -0.5 - row, track.labels[place], **style)
    letters = 0.7 * len(sequence[0])
    for place in places if readable else ():
        axis.text(place, letters / 2, "\n".join(sequence[place]), linespacing=1.0, **style)
    axis.plot(places, letters + 0.1 + np.asarray(confidence[places.start : places.stop]), color="0.3", linewidth=0.9)
    axis.axhline(letters + 1.1, color="0.85", linewidth=0.6)
    if len(tracks) == 2:
        wrong = [place for place in places if tracks[1].labels[place] not in (" ", tracks[0].labels[place])]
        axis.plot(wrong, [-2.05] * len(wrong), linestyle="none", marker="^", markersize=2.5, color="black")
    axis.set_ylim(-0.2 - len(tracks), letters + 1.2)
    names = ["confidence", *(track.name for track in tracks)]
    axis.set_yticks([letters + 0.6, *(-0.5 - row for row in range(len(tracks)))], names)
    axis.set_xticks([places[0], places[-1]], [str(places[0] + 1), str(places[-1] + 1)])
    axis.tick_params(length=0, labelsize=7)
    axis.spines[:].set_visible(False)


def _colours(tracks: Sequence[Track], kinds: Sequence[Kind]) -> tuple[dict[str, Colour], dict[str, Colour]]:
    """Red, green and blue, 0 to 1, of each label that occurs, white for a space; and of each name in the legend."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    kind_of = {label: kind for kind in kinds for label in kind.labels}
    spare = itertools.cycle(colormaps["tab20"].colors)  # type: ignore[attr-defined]
    palette: dict[str, Colour] = {" ": (1.0, 1.0, 1.0)}
    legend: dict[str, Colour] = {}
    for label in sorted(set().union(*(track.labels for track in tracks)) - {" "}):
        kind = kind_of.get(label) or Kind(label, label, next(spare))
        palette[label] = legend[kind.name] = to_rgb(kind.colour)
    return palette, legend
