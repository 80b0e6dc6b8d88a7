"""Augmentation: the same picture seen otherwise. On uint8 [H, W, C], driven by the record's own numpy generator.

* What every record pays for (flip, shift, erase) is plain numpy, cheaper than a tensor for each image.
* The named policies apply torchvision's operations. They are drawn here, and not by torchvision's classes, because those
  draw from torch's global generator, which dropout uses as well: a resumed run could not repeat itself.
* Sources: RandAugment (Cubuk et al. 2019), TrivialAugment (Müller and Hutter 2021), random erasing (Zhong et al. 2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from pydantic import Field

from anyformer.task import Array, Frozen, Rng


class Augmentation(Frozen):
    """Which changes a training image may undergo. The policy comes first, then flip, shift, erase."""

    policy: Literal["none", "randaugment", "trivialaugment"] = "none"
    """`randaugment`: two operations at magnitude 9 of 30; `trivialaugment`: one, at any magnitude of a wider range."""
    flip: bool = True
    """Mirror every second image. Set to false where left and right differ: digits, letters, organs."""
    shift: float = Field(default=0.05, ge=0, le=0.5)
    """Move by up to this part of each side, whole pixels; what is uncovered repeats the edge."""
    erase: float = Field(default=0.0, ge=0, le=1)
    """Part of the images in which a rectangle of 2 to 33 % of the area becomes noise."""


def augment(pixels: Array, settings: Augmentation, rng: Rng) -> Array:
    """uint8 [H, W, C] to uint8 [H, W, C]; the input is left as it is."""
    if settings.policy != "none":
        pixels = _policy(pixels, settings.policy, rng)
    if settings.flip and rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    if settings.shift:
        pixels = shift(pixels, settings.shift, rng)
    if settings.erase and rng.random() < settings.erase:
        pixels = erase(pixels, rng)
    return pixels


def shift(pixels: Array, part: float, rng: Rng) -> Array:
    """The image moved by up to `part` of each side, down and right or up and left; the edge fills what is uncovered."""
    rows, columns = (_moved(side, round(part * side), rng) for side in pixels.shape[:2])
    return pixels[rows[:, None], columns]


def _moved(side: int, most: int, rng: Rng) -> Array:
    return np.clip(np.arange(side) - rng.integers(-most, most + 1), 0, side - 1)


def erase(pixels: Array, rng: Rng) -> Array:
    """A copy with noise in a rectangle of 2 to 33 % of the area, its proportions between 3:10 and 10:3."""
    height, width, channels = pixels.shape
    area = rng.uniform(0.02, 0.33) * height * width
    proportion = math.exp(rng.uniform(math.log(0.3), math.log(1 / 0.3)))
    rows = min(height, max(1, round(math.sqrt(area * proportion))))
    columns = min(width, max(1, round(math.sqrt(area / proportion))))
    top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
    erased = pixels.copy()
    erased[top : top + rows, left : left + columns] = rng.integers(0, 256, (rows, columns, channels), dtype=np.uint8)
    return erased


def _policy(pixels: Array, name: str, rng: Rng) -> Array:
    """The operations of a named policy, drawn by `rng` and applied by torchvision."""
    import torch

    image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    wide = name == "trivialaugment"
    operations = list(_operations(wide, *pixels.shape[:2]).values())
    for _ in range(1 if wide else 2):
        level = int(rng.integers(31)) / 30 if wide else 9 / 30
        sign = 1 if rng.random() < 0.5 else -1
        image = operations[rng.integers(len(operations))](image, level, sign)
    return np.ascontiguousarray(image.numpy().transpose(1, 2, 0))


def _operations(wide: bool, height: int, width: int) -> dict[str, Callable[[Any, float, int], Any]]:
    """The fourteen operations, each of an image, a level from 0 to 1, and a sign for those that have two directions."""
    from torchvision.transforms.v2 import functional as F

    shear, turn, colour, bits = (0.99, 135.0, 0.99, 6) if wide else (0.3, 30.0, 0.9, 4)
    down, right = (32.0, 32.0) if wide else (150 / 331 * height, 150 / 331 * width)

    def sheared(image: Any, x: float, y: float) -> Any:
        angles = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
        return F.affine(image, angle=0.0, translate=[0, 0], scale=1.0, shear=angles, center=[0, 0])

    def moved(image: Any, x: float, y: float) -> Any:
        return F.affine(image, angle=0.0, translate=[int(x), int(y)], scale=1.0, shear=[0.0, 0.0])

    return {
        "identity": lambda image, level, sign: image,
        "shear-x": lambda image, level, sign: sheared(image, sign * level * shear, 0),
        "shear-y": lambda image, level, sign: sheared(image, 0, sign * level * shear),
        "move-x": lambda image, level, sign: moved(image, sign * level * right, 0),
        "move-y": lambda image, level, sign: moved(image, 0, sign * level * down),
        "rotate": lambda image, level, sign: F.rotate(image, sign * level * turn),
        "brightness": lambda image, level, sign: F.adjust_brightness(image, 1 + sign * level * colour),
        "saturation": lambda image, level, sign: F.adjust_saturation(image, 1 + sign * level * colour),
        "contrast": lambda image, level, sign: F.adjust_contrast(image, 1 + sign * level * colour),
        "sharpness": lambda image, level, sign: F.adjust_sharpness(image, 1 + sign * level * colour),
        "posterize": lambda image, level, sign: F.posterize(image, round(8 - level * bits)),
        "solarize": lambda image, level, sign: F.solarize(image, 255 * (1 - level)),
        "autocontrast": lambda image, level, sign: F.autocontrast(image),
        "equalize": lambda image, level, sign: F.equalize(image),
    }
