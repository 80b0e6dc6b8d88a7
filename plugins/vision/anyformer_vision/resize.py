"""Detection images at the size a model wants, and mirrored, with their boxes.

* As DETR does (Carion et al. 2020): the shortest side gets a wanted length, unless the longest would then be too long.
  Proportions are kept.
* A model of patches may ask for sides that are multiples of its patch. They are rounded down, as YOLOS does (Fang et al.
  2021), which changes the proportions by less than a patch.
* Pixels are resampled with triangles whose width grows with the reduction, so fine detail fades and does not flicker.

Axis legend: N boxes, H height, W width, C channels; h and w after resizing.
"""

from __future__ import annotations

import numpy as np

from anyformer.task import Array

MAX_SIDE = 4096
"""Pixels that a side of a detection image may have."""


def fitted(height: int, width: int, shortest: int, longest: int | None = None, multiple: int = 1) -> tuple[int, int]:
    """Height and width whose shorter side is `shortest`, or less where the longer one would exceed `longest`; both are
    then rounded down to a multiple of `multiple`.

    Raises `ValueError` where a side would be less than one multiple.
    """
    low, high = min(height, width), max(height, width)
    wanted = float(shortest)
    if longest is not None and high / low * shortest > longest:
        wanted = longest * low / high
    side = round(wanted)
    # The longer side follows the unrounded shorter one, as in the checkpoints' own processing: they must agree to a pixel.
    other = high if low == side else int(wanted * high / low)
    sides = (side, other) if height <= width else (other, side)
    new_height, new_width = (length - length % multiple for length in sides)
    if not new_height or not new_width:
        raise ValueError(
            f"an image of {width} x {height} pixels would become {sides[1]} x {sides[0]}, less than {multiple} on a side; "
            "crop it, or raise the size of the images"
        )
    return new_height, new_width


def resize(pixels: Array, boxes: Array, height: int, width: int) -> tuple[Array, Array]:
    """uint8 [H, W, C] and boxes [N, 4] of x0, y0, x1, y1 in pixels, to uint8 [h, w, C] and boxes in its pixels."""
    old_height, old_width = pixels.shape[:2]
    if (old_height, old_width) == (height, width):
        return pixels, boxes
    import PIL.Image

    flat = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    image = PIL.Image.fromarray(flat).resize((width, height), PIL.Image.Resampling.BILINEAR)
    across, down = width / old_width, height / old_height
    return np.asarray(image).reshape(height, width, -1), boxes * np.array([across, down, across, down])


def mirror(pixels: Array, boxes: Array) -> tuple[Array, Array]:
    """Left becomes right: uint8 [H, W, C] and boxes [N, 4] of x0, y0, x1, y1 in pixels."""
    width = pixels.shape[1]
    left, top, right, bottom = np.moveaxis(boxes, -1, 0)
    return pixels[:, ::-1], np.stack([width - right, top, width - left, bottom], axis=-1)
