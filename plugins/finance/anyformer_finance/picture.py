"""A fan chart: the history, the median, bands of quantiles, and what really came."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from anyformer_finance.schema import Input, Output, Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_PANELS = 6
"""Series drawn; the title says so when there are more."""
MIN_HISTORY, HORIZONS = 24, 6
"""Values of the history drawn: as many as the horizon has, times `HORIZONS`, and not fewer than `MIN_HISTORY`."""


def fan_chart(input: Input, output: Output, target: Target | None) -> Figure:
    """One panel for each series, the first `MAX_PANELS` of them; step 0 is the last known value."""
    from matplotlib.figure import Figure

    names = list(output.median)
    shown = names[:MAX_PANELS]
    columns = 1 if len(shown) == 1 else 2
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(6.4 * columns, 2.8 * rows), layout="constrained")
    if len(names) > len(shown):
        figure.suptitle(f"{len(shown)} of {len(names)} series")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, name in zip(panels, shown, strict=False):
        history = input.series[name][-max(MIN_HISTORY, HORIZONS * len(output.median[name])) :]
        truth = None if target is None else target.future.get(name)
        _panel(panel, history, output.quantiles[name], output.median[name], truth)
        panel.set_title(name)
    for panel in panels[len(shown) :]:
        panel.set_axis_off()
    panels[0].legend(loc="upper left", fontsize="small")
    return figure


def _panel(panel: Any, history: np.ndarray, quantiles: dict[str, Any], median: Any, truth: Any | None) -> None:
    """History up to step 0, then pairs of levels as bands, outermost first."""
    steps = np.arange(1, len(median) + 1)
    levels = list(quantiles)
    for low, high in zip(levels[: len(levels) // 2], reversed(levels), strict=False):
        widest = low == levels[0]
        label = f"{low} to {high}" if widest else None
        panel.fill_between(steps, quantiles[low], quantiles[high], color="C0", alpha=0.15, linewidth=0, label=label)
    panel.plot(np.arange(1 - len(history), 1), history, color="0.3", linewidth=1)
    panel.plot(steps, median, color="C0", label="median")
    if truth is not None:
        panel.plot(steps, truth, color="C3", linewidth=1, label="truth")
    panel.axvline(0, color="0.8", linewidth=1, zorder=0)
