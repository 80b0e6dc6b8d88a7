"""Exact sums over the pixels of images, one image at a time: their mean and standard deviation."""

from __future__ import annotations

import numpy as np

from anyformer.task import Array


class PixelSums:
    """Exact sums over pixels, by channel."""

    def __init__(self) -> None:
        self.count = 0
        self.grey = True
        self.first: Array = np.zeros(1, np.int64)
        self.second: Array = np.zeros(1, np.int64)

    def add(self, pixels: Array) -> None:
        """uint8 [H, W] or [H, W, 3]."""
        flat = pixels.reshape(pixels.shape[0] * pixels.shape[1], -1)
        self.grey = self.grey and bool((flat == flat[:, :1]).all())
        wide = flat.astype(np.int64)
        self.count += len(flat)
        self.first = self.first + wide.sum(0)
        self.second = self.second + (wide * wide).sum(0)

    def moments(self, num_channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of the first channels; a channel that never changes is left unscaled."""
        means, stds = [], []
        for first, second in zip(self.first.tolist(), self.second.tolist(), strict=True):
            variance = self.count * second - first * first  # of Python's integers, which do not overflow
            means.append(first / self.count)
            stds.append(variance**0.5 / self.count if variance else 1.0)
        return tuple(means[:num_channels]), tuple(stds[:num_channels])
