"""Images as patches: the tokenizer of vision transformers (Dosovitskiy et al. 2020).

Axis legend: H height, W width, C channels (1 grey, 3 colour), L patches, P values in a patch.

* Every image becomes the same size, so every sequence the same length; `framing` says how.
* What the training images are, `fit` reads from them: grey or colour, their size where all have one, and the mean and
  standard deviation of each channel, from exact sums over every pixel.
* Patches run row by row, and a patch's values row by row with the channels innermost.
* `preprocessing` reads and writes these settings as checkpoints of other libraries have them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from anyformer.media import Image
from anyformer.task import Array, Frozen, Rng, Tokenizer
from anyformer_vision.framing import Framing, framed, text
from anyformer_vision.pixel_sums import PixelSums

CHANNELS = {"L": 1, "RGB": 3}
AUTO_SIDE = 64
"""The longest side that `fit` takes over from the training images without being told."""
MAX_SIDE = 4096
SAVED = "patches.json"


class Fitted(Frozen):
    """What `fit` learned."""

    size: tuple[int, int]
    """Height and width of every image, H and W."""
    mode: Literal["L", "RGB"]
    """Grey or colour."""
    mean: tuple[float, ...]
    """Of each channel, in units of pixels (0 to 255)."""
    std: tuple[float, ...]
    """Of each channel, likewise."""


class Patches(Tokenizer):
    """An image to normalised patches, float32 [L, P], and back."""

    class Config(Framing):
        """The size of images and patches, and how an image is brought to it."""

        size: tuple[int, int] | None = None
        """Height and width, or one number for both; multiples of `patch`. None: the size of the training images, where
        all have the same and no side is longer than 64."""
        patch: int = Field(default=4, ge=1, le=MAX_SIDE)
        """Side of a square patch, in pixels."""
        mode: Literal["auto", "L", "RGB"] = "auto"
        """Grey, colour, or `auto`: grey if every training image is."""
        mean: tuple[float, ...] | None = None
        """Fixed mean of each channel, in units of pixels (0 to 255). None: of the training images."""
        std: tuple[float, ...] | None = None
        """Fixed standard deviation of each channel, likewise."""

        @field_validator("size", "before", mode="before")
        @classmethod
        def _square(cls, size: Any) -> Any:
            return (size, size) if isinstance(size, int | str) else size

        @model_validator(mode="after")
        def _possible(self) -> Patches.Config:
            if self.size is not None:
                _check_size(self.size, self.patch, "size")
                self.check_before(self.size)
            elif self.before is not None:
                raise ValueError("before needs a size to cut out of it; set size as well")
            given = [values for values in (self.mean, self.std) if values is not None]
            if len(given) == 1:
                raise ValueError("mean and std are fixed together; give both, or neither")
            if given and not all(len(values) == CHANNELS.get(self.mode) for values in given):
                raise ValueError("a fixed mean and std need mode L with 1 value each, or mode RGB with 3")
            if self.std is not None and min(self.std) <= 0:
                raise ValueError(f"std must be above 0; got {list(self.std)}")
            return self

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._fitted: Fitted | None = None
        if config.size and config.mode != "auto" and config.mean and config.std:
            self.fitted = Fitted(size=config.size, mode=config.mode, mean=config.mean, std=config.std)

    @property
    def fitted(self) -> Fitted:
        """What `fit` learned, or `load` read."""
        assert self._fitted is not None, "Patches is used before fit or load"
        return self._fitted

    @fitted.setter
    def fitted(self, value: Fitted) -> None:
        self._fitted = value
        self.patch_width = self.config.patch**2 * self.num_channels

    @property
    def num_channels(self) -> int:
        """C."""
        return CHANNELS[self.fitted.mode]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        height, width = self.fitted.size
        return height // self.config.patch, width // self.config.patch

    @property
    def num_patches(self) -> int:
        """L: the length of every sequence."""
        rows, columns = self.grid
        return rows * columns

    def fit(self, corpus: Iterable[Any], rng: Rng) -> None:
        """Learn size, mode, mean and standard deviation from images, holding one at a time.

        Raises `ValueError` if there is none, or if no size was given and the images cannot tell one.
        """
        config = self.config
        if config.size and config.mode != "auto" and config.mean and config.std:
            return  # nothing is left to learn
        size, sums = config.size, PixelSums()
        for raw in corpus:
            pixels = Image.of(raw).pixels("L" if config.mode == "L" else "RGB")
            size = size or _adopted(pixels, config.patch)
            if config.size is None and pixels.shape[:2] != size:
                raise ValueError(
                    f"the training images differ in size ({text(size)} and {text(pixels.shape)}, height x width); "
                    f"set the tokenizer's size, for example size={AUTO_SIDE}"
                )
            sums.add(framed(pixels, size, config))
        if not sums.count:
            raise ValueError("there is no image to learn from; give at least one")
        assert size is not None
        mode = ("L" if sums.grey else "RGB") if config.mode == "auto" else config.mode
        mean, std = sums.moments(CHANNELS[mode])
        self.fitted = Fitted(size=size, mode=mode, mean=config.mean or mean, std=config.std or std)

    def pixels(self, raw: Any) -> Array:
        """Whatever `Image.of` takes, to uint8 [H, W, C] of the fitted size. Raises `ValueError` as `Image` does."""
        fitted = self.fitted
        framed_HWC = framed(Image.of(raw).pixels(fitted.mode), fitted.size, self.config)
        return framed_HWC.reshape(*fitted.size, self.num_channels)

    def patches(self, pixels: Array) -> Array:
        """uint8 [H, W, C] to normalised patches, float32 [L, P]."""
        (height, width), side, channels = self.fitted.size, self.config.patch, self.num_channels
        assert pixels.shape == (height, width, channels), f"{pixels.shape} is not {(height, width, channels)}"
        mean, std = self._moments()
        grid = ((pixels - mean) / std).reshape(height // side, side, width // side, side, channels)
        return np.ascontiguousarray(grid.transpose(0, 2, 1, 3, 4).reshape(self.num_patches, self.patch_width))

    def encode(self, raw: Any) -> dict[str, Array]:
        """An image to `{"patches": float32 [L, P]}`."""
        return {"patches": self.patches(self.pixels(raw))}

    def decode(self, ids: Array, final: bool = True) -> Array:
        """Patches [L, P] to the image, uint8 [H, W] or [H, W, 3]: values are rounded and clipped to 0 to 255."""
        (height, width), side = self.fitted.size, self.config.patch
        grid = np.asarray(ids, np.float32).reshape(height // side, width // side, side, side, self.num_channels)
        image = grid.transpose(0, 2, 1, 3, 4).reshape(height, width, self.num_channels)
        mean, std = self._moments()
        pixels = np.clip(np.rint(image * std + mean), 0, 255).astype(np.uint8)
        return pixels[..., 0] if self.num_channels == 1 else pixels

    def _moments(self) -> tuple[Array, Array]:
        """Mean and standard deviation, float32 [C]."""
        return np.array(self.fitted.mean, np.float32), np.array(self.fitted.std, np.float32)

    def save(self, folder: Path) -> None:
        """Write what `fit` learned."""
        (folder / SAVED).write_text(self.fitted.model_dump_json(indent=1) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        self.fitted = Fitted.model_validate_json((folder / SAVED).read_text(encoding="utf-8"))

    @classmethod
    def read(cls, folder: Path, config: Mapping[str, Any]) -> Patches:
        """From the files of a checkpoint of transformers or timm. Raises `ValueError` for what is not supported."""
        from anyformer.description import validated
        from anyformer_vision import preprocessing

        tokenizer = cls(validated(cls.Config, preprocessing.read(folder, config), "preprocessing"))
        tokenizer.fit((), np.random.default_rng(0))
        return tokenizer

    def write(self, folder: Path) -> bool:
        """The files that transformers or timm read; False where they have no word for our settings."""
        from anyformer_vision import preprocessing

        return preprocessing.write(folder, self.config, self.fitted)


def _adopted(pixels: Array, patch: int) -> tuple[int, int]:
    """The size of the first training image as the size of all, if it is small and splits into patches."""
    size = (pixels.shape[0], pixels.shape[1])
    if max(size) > AUTO_SIDE:
        raise ValueError(
            f"the training images are {text(size)} (height x width), too large to be taken as they are; "
            f"set the tokenizer's size, for example size={AUTO_SIDE}"
        )
    _check_size(size, patch, "the size of the training images")
    return size


def _check_size(size: tuple[int, int], patch: int, name: str) -> None:
    if min(size) < 1 or max(size) > MAX_SIDE or any(side % patch for side in size):
        raise ValueError(
            f"{name} is {text(size)} (height x width), which patches of {patch} x {patch} do not fill; "
            f"set size to multiples of patch, at most {MAX_SIDE}, or another patch"
        )
