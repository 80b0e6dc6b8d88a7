"""Images with known boxes, drawn by a generator: what object detection is tried on where there is no data."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyformer.task import Rng

COLOURS = {"blue": (40, 60, 220), "red": (220, 50, 40)}
SIZES = ((48, 48), (48, 64), (32, 48), (64, 48))
"""Height and width, in turn."""


def rectangles(num: int, rng: Rng) -> list[dict[str, Any]]:
    """Rows of `image` and `boxes`: grey noise with none to three rectangles, each in its colour, none over another."""
    rows = []
    for index in range(num):
        height, width = SIZES[index % len(SIZES)]
        image = rng.integers(90, 160, (height, width, 1), dtype=np.uint8).repeat(3, axis=2)
        boxes = []
        # The image has three columns to draw in, so that rectangles are apart.
        column = width // 3
        for place in rng.permutation(3)[: index % 4]:
            label = str(rng.choice(list(COLOURS)))
            wide, high = int(rng.integers(8, column)), int(rng.integers(8, height - 8))
            left, top = int(place) * column + int(rng.integers(column - wide)), int(rng.integers(height - high))
            image[top : top + high, left : left + wide] = COLOURS[label]
            boxes.append({"label": label, "box": [left, top, left + wide, top + high]})
        rows.append({"image": image, "boxes": boxes})
    return rows
