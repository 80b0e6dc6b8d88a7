"""How an image is brought to the size that a model reads: resized by a rule, then cut.

Axis legend: h, w height and width as they come; H, W as the model reads them.

| rule      | what happens                                                                                           |
|-----------|--------------------------------------------------------------------------------------------------------|
| `crop`    | the largest part of the wanted proportions, from the middle, becomes H x W                             |
| `stretch` | everything becomes `before`, whatever its proportions, and the middle of that is cut out               |
| `cover`   | proportions are kept, the image just covers `before`, and the middle of that is cut out                |

* `crop` is our own; the other two are what the published models were evaluated with, which must be met to the pixel.
* All filters of Pillow but `nearest` widen as an image is reduced, so that fine detail fades and does not flicker.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from anyformer.task import Array, Frozen

Rule = Literal["crop", "stretch", "cover"]
Filter = Literal["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]
"""In the order of Pillow's own numbers for them, from 0 on."""


class Framing(Frozen):
    """The settings of a tokenizer that decide how an image is brought to its size."""

    resize: Rule = "crop"
    """`crop` keeps the proportions and cuts what stands out, evenly on both sides; `stretch` keeps everything; `cover`
    is `crop` as most published models have it: resized first, to whole pixels, and cut then."""
    before: tuple[int, int] | None = None
    """Height and width that `stretch` and `cover` resize to, before the middle is cut out. None: the size itself."""
    filter: Filter = "bilinear"
    """How pixels are resampled."""
    cut: Literal["down", "even"] = "down"
    """Where an odd number of rows or columns is cut off: the smaller half first (transformers), or the half rounded to
    an even number first (torchvision, timm)."""

    def check_before(self, size: tuple[int, int]) -> None:
        """Raise `ValueError` if `before` is smaller than the size, or has no meaning."""
        if self.before is None:
            return
        if self.resize == "crop":
            raise ValueError("before is for resize=stretch and resize=cover; leave it out, or choose one of them")
        if self.before[0] < size[0] or self.before[1] < size[1]:
            raise ValueError(
                f"before is {text(self.before)} (height x width), smaller than size, {text(size)}; nothing is ever padded"
            )


def framed(pixels: Array, size: tuple[int, int], how: Framing) -> Array:
    """uint8 [h, w] or [h, w, 3] to the size [H, W]."""
    before = how.before or size
    if pixels.shape[:2] == size == before:
        return pixels
    import PIL.Image
    import PIL.ImageOps

    image = PIL.Image.fromarray(pixels)
    kernel = PIL.Image.Resampling[how.filter.upper()]
    if how.resize == "crop":
        return np.asarray(PIL.ImageOps.fit(image, (size[1], size[0]), kernel))
    height, width = before if how.resize == "stretch" else covering(pixels.shape[0], pixels.shape[1], before)
    if pixels.shape[:2] != (height, width):
        image = image.resize((width, height), kernel)
    top, left = (_before_middle(extra, how.cut) for extra in (height - size[0], width - size[1]))
    return np.asarray(image)[top : top + size[0], left : left + size[1]]


def covering(height: int, width: int, before: tuple[int, int]) -> tuple[int, int]:
    """Height and width of an image that keeps its proportions and just covers `before`.

    Of a square, the other side is rounded down; otherwise, both to the nearest pixel. That is what other libraries do.
    """
    if before[0] == before[1]:
        short, long = min(height, width), max(height, width)
        other = int(before[0] * long / short)
        return (before[0], other) if height <= width else (other, before[0])
    ratio = min(height / before[0], width / before[1])
    return round(height / ratio), round(width / ratio)


def text(size: tuple[int, ...]) -> str:
    """A size in words."""
    return f"{size[0]} x {size[1]}"


def _before_middle(extra: int, cut: Literal["down", "even"]) -> int:
    return extra // 2 if cut == "down" else round(extra / 2)
