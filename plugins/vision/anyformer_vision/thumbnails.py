"""The mean image of each class, and which of them an image is closest to: a baseline that knows only average shapes.

Axis legend: K classes, H height, W width, C channels; h and w after reduction.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from anyformer.task import Array

MAX_SIDE = 32
"""Larger images are reduced first: a thousand mean images have to fit beside the model."""


def thumbnail(pixels: Array, longest: int = MAX_SIDE) -> Array:
    """uint8 [H, W, C] to uint8 [h, w, C], means of square blocks, with no side longer than `longest`."""
    factor = -(-max(pixels.shape[:2]) // longest)
    if factor == 1:
        return pixels
    import PIL.Image

    flat = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    reduced = np.asarray(PIL.Image.fromarray(flat).reduce(factor))
    return reduced.reshape(*reduced.shape[:2], pixels.shape[2])


def nearest(image: Array, means: Array) -> int:
    """The index of the mean image [K, h, w, C] with the least squared distance from the image [h, w, C]."""
    return int(((np.asarray(means) - image) ** 2).sum(axis=(1, 2, 3)).argmin())


class ClassMeans:
    """Sums of images by label, added one at a time."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._sums: dict[str, Array] = {}

    def add(self, label: str, image: Array) -> None:
        """One image, uint8 [h, w, C]; all have one shape."""
        self._counts[label] = self._counts.get(label, 0) + 1
        if label not in self._sums:
            self._sums[label] = np.zeros(image.shape)
        self._sums[label] += image

    @property
    def labels(self) -> list[str]:
        """The labels seen, in order."""
        return sorted(self._counts)

    def state(self) -> dict[str, Any]:
        """`labels` K names in order, `counts` int64 [K], `means` float32 [K, h, w, C]."""
        counts = np.array([self._counts[label] for label in self.labels], np.int64)
        sums = np.stack([self._sums[label] for label in self.labels])
        means = (sums / counts[:, None, None, None]).astype(np.float32)
        return {"labels": self.labels, "counts": counts, "means": means}
