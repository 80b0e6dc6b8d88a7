"""What a detector that looks at no image would know: how often each label occurs, and where, on average."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyformer.task import Array
from anyformer_vision.boxes import Boxes, Photo, corners, to_center

MEASURED = 1000
"""Images that are opened for their size, evenly spread: boxes are in pixels, and their mean is relative to the image."""
WHOLE = (0.5, 0.5, 1.0, 1.0)
"""The box of a label that none of these images has."""


class BoxStatistics:
    """Labels, the share of images that have each, and its mean box, from records one after another."""

    def __init__(self, num_records: int) -> None:
        self.num_records = num_records
        self.measured = set(np.linspace(0, num_records - 1, min(MEASURED, num_records)).astype(int).tolist())
        self.images: dict[str, int] = {}
        self.boxes: dict[str, Array] = {}
        """For each label the sum of its boxes [4] and their number, as one array [5]."""

    def add(self, index: int, photo: Photo, truth: Boxes) -> None:
        """One record and its place among all."""
        for label in {box.label for box in truth.boxes}:
            self.images[label] = self.images.get(label, 0) + 1
        objects = [box for box in truth.boxes if not box.crowd]
        if index not in self.measured or not objects:
            return
        height, width = photo.image.pixels("RGB").shape[:2]
        relative = to_center(corners(objects) / np.array([width, height, width, height]))
        for box, row in zip(objects, relative, strict=True):
            self.boxes[box.label] = self.boxes.get(box.label, np.zeros(5)) + np.append(row, 1)

    def state(self) -> dict[str, Any]:
        """`labels` in order, `shares` [K], `means` [K, 4]. Raises `ValueError` if there is no box at all."""
        if not self.images:
            raise ValueError("the training data has no box; a detector needs one or more")
        labels = sorted(self.images)
        sums = np.stack([self.boxes.get(label, np.array([*WHOLE, 1.0])) for label in labels])
        shares = np.array([self.images[label] for label in labels]) / self.num_records
        return {"labels": labels, "shares": shares, "means": sums[:, :4] / sums[:, 4:]}
