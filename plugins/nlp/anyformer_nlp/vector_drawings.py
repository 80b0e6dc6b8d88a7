"""Pictures of vectors of texts: how alike two are, and what one holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from anyformer_nlp.drawings import ANSWER, TRUTH, _plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PER_ROW = 64
"""Numbers in a row of a strip."""


def draw_similarity(text: str, other: str, similarity: float, truth: float | None) -> Figure:
    """A bar from 0 to the similarity, on an axis from -1 to 1; the true score is a green line and says so."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 1.9), layout="constrained")
    axes = figure.add_subplot()
    axes.barh([0], [similarity], color=ANSWER, height=0.5)
    axes.axvline(0, color="black", linewidth=0.8)
    if truth is not None:
        axes.axvline(truth, color=TRUTH, linewidth=2, label=f"truth {truth:.2f}")
        axes.legend(loc="lower left", frameon=False, fontsize=8)
    axes.set_xlim(-1, 1)
    axes.set_ylim(-0.6, 0.6)
    axes.set_yticks([])
    axes.set_xlabel(f"similarity {similarity:.2f}")
    axes.set_title(f"{_plain(text, 70)}\n{_plain(other, 70)}", fontsize=10, loc="left")
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


def draw_vector(text: str, vector: Sequence[float]) -> Figure:
    """A vector as cells of colour, row by row: blue is negative, red positive, white 0."""
    from matplotlib.figure import Figure

    values = np.asarray(vector, dtype=np.float64)
    num_rows = max(1, -(-len(values) // PER_ROW))
    cells = np.full((num_rows, min(max(len(values), 1), PER_ROW)), np.nan)
    cells.reshape(-1)[: len(values)] = values
    greatest = float(np.abs(values).max(initial=0.0)) or 1.0
    figure = Figure(figsize=(7, 1.2 + 0.1 * num_rows), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(cells, cmap="RdBu_r", vmin=-greatest, vmax=greatest, aspect="auto", interpolation="nearest")
    figure.colorbar(image, ax=axes)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(f"{len(values)} numbers, from left to right, {PER_ROW} a row")
    axes.set_title(_plain(text, 70), fontsize=10, loc="left")
    return figure
