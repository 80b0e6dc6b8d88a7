"""Images as pixels, each of its own size: the tokenizer of detectors.

Axis legend: H height, W width.

* An image keeps its proportions: its shorter side becomes `shortest`, unless the longer one would pass `longest` (Carion et
  al. 2020). Without `shortest` an image is only ever made smaller.
* Sides are rounded down to a `multiple`, so that square patches cover every pixel; positions of boxes are relative to
  the image, so they stay what they are.
* Pixels run row by row, and are normalised by fixed moments: those of ImageNet, as the published models have it. There is
  nothing to learn from data, and nothing to save.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from anyformer.media import Image
from anyformer.task import Array, Frozen, Tokenizer
from anyformer_vision.resize import MAX_SIDE, fitted, resize

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
"""Of the red, green and blue pixels of ImageNet, 0 to 255."""


class Pixels(Tokenizer):
    """An image to its normalised pixels, float32 [H * W, 3], and its size, int64 [1, 2]."""

    class Config(Frozen):
        """What size an image is brought to."""

        size: tuple[int, int] | None = None
        """Height and width of every image, whatever its proportions. None: proportions are kept, and the next two count."""
        shortest: int | None = Field(default=None, ge=1, le=MAX_SIDE)
        """The shorter side becomes this long. None: an image is never made larger."""
        longest: int = Field(default=512, ge=1, le=MAX_SIDE)
        """No side becomes longer than this; it goes before `shortest`."""
        multiple: int = Field(default=16, ge=1, le=MAX_SIDE)
        """Sides are rounded down to a multiple of this; an image with a shorter side is refused."""
        mean: tuple[float, float, float] = IMAGENET_MEAN
        """Of red, green and blue, in units of pixels (0 to 255); taken away from each pixel."""
        std: tuple[float, float, float] = IMAGENET_STD
        """Likewise; each pixel is then divided by it."""

        @model_validator(mode="after")
        def _possible(self) -> Pixels.Config:
            if self.size is not None and not all(
                0 < side <= MAX_SIDE and not side % self.multiple for side in self.size
            ):
                raise ValueError(
                    f"size is {_text(self.size)} (height x width); set it to multiples of {self.multiple} (multiple), at "
                    f"most {MAX_SIDE}"
                )
            if self.multiple > self.longest:
                raise ValueError(f"multiple is {self.multiple}, more than longest, {self.longest}; set a smaller one")
            if min(self.std) <= 0:
                raise ValueError(f"std must be above 0; got {list(self.std)}")
            return self

    config: Config
    patch_width = 3

    def size(self, height: int, width: int, scale: float = 1.0) -> tuple[int, int]:
        """Height and width that an image of a size is brought to; `scale` then shrinks both, for augmentation.

        Raises `ValueError` for an image with a side that would be shorter than one `multiple`.
        """
        config = self.config
        shortest = config.shortest or min(height, width)
        rows, columns = config.size or fitted(height, width, shortest, config.longest, config.multiple)
        if scale == 1.0:
            return rows, columns
        rows, columns = (int(side * scale) // config.multiple * config.multiple for side in (rows, columns))
        return max(rows, config.multiple), max(columns, config.multiple)

    def resized(self, pixels: Array, scale: float = 1.0) -> Array:
        """uint8 [h, w, 3] to uint8 [H, W, 3] of the size for it."""
        height, width = pixels.shape[:2]
        return resize(pixels, np.empty((0, 4)), *self.size(height, width, scale))[0]

    def parts(self, pixels: Array) -> dict[str, Array]:
        """uint8 [H, W, 3] to `{"pixels": float32 [H * W, 3], "size": int64 [1, 2]}`, height before width."""
        mean, std = np.array(self.config.mean, np.float32), np.array(self.config.std, np.float32)
        flat = (pixels.reshape(-1, 3).astype(np.float32) - mean) / std
        return {"pixels": flat, "size": np.array([pixels.shape[:2]], np.int64)}

    def encode(self, raw: Any) -> dict[str, Array]:
        """Whatever `Image.of` takes, to its parts. Raises `ValueError` as `Image` does."""
        return self.parts(self.resized(Image.of(raw).pixels("RGB")))

    @classmethod
    def read(cls, folder: Path, config: Mapping[str, Any]) -> Pixels:
        """What a checkpoint's folder says of its images. Raises `ValueError` for what is not supported."""
        from anyformer.description import validated
        from anyformer_vision import detection_files

        return cls(validated(cls.Config, detection_files.read(folder, config), detection_files.FILE))

    def write(self, folder: Path) -> bool:
        """Say it there; False where the home library has no word for these settings."""
        from anyformer_vision import detection_files

        return detection_files.write(folder, self.config)


def _text(size: tuple[int, ...]) -> str:
    return f"{size[0]} x {size[1]}"
