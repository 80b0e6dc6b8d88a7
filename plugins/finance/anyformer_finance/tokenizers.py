"""Patches: a series cut into overlapping pieces, each one token (Nie et al. 2023, A Time Series is Worth 64 Words,
https://arxiv.org/abs/2211.14730).

* The end is lengthened by repeating the last value `stride` times, so that the newest values fill a patch: 336 values in
  patches of 16, 8 apart, are 42 patches (PatchTST/42). With any lengths, every value is in at least one patch. Without
  this (`lengthen`), patches end where the series does and its first values may be in none, as checkpoints have it.
* Nothing is learned: scaling belongs to the window (see `anyformer_finance.forecast`), not to the training data.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from anyformer.task import Array, Frozen, Tokenizer


class Patches(Tokenizer):
    """Values [N] to patches float32 [L, P]."""

    class Config(Frozen):
        """How a series is cut."""

        length: int = Field(default=16, ge=1)
        """Values in a patch, P."""
        stride: int = Field(default=8, ge=1)
        """Values between the beginnings of two patches; at most `length` to miss none."""
        lengthen: bool = True
        """Repeat the last value `stride` times at the end. False: the first values that fill no patch are left out."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        if config.stride > config.length:
            raise ValueError(
                f"a stride of {config.stride} skips values between patches of {config.length}; "
                f"set a stride of at most {config.length}"
            )
        self.length, self.stride, self.lengthen = config.length, config.stride, config.lengthen
        self.patch_width = config.length
        self.patch_overlap = config.length - config.stride

    @classmethod
    def read(cls, folder: Path, config: Mapping[str, Any]) -> Patches:
        """As a checkpoint's `config.json` says: its `patch_length` and `patch_stride`."""
        return cls(cls.Config(length=config["patch_length"], stride=config["patch_stride"], lengthen=False))

    def write(self, folder: Path) -> bool:
        """Nothing: a checkpoint's `config.json` says it all."""
        return True

    def count(self, num_values: int) -> int:
        """Number of patches of a series of `num_values`; raises `ValueError` if it is shorter than one patch."""
        if num_values < self.length:
            raise ValueError(
                f"{num_values} values are shorter than one patch of {self.length}; give more, or a shorter patch"
            )
        return (num_values - self.length) // self.stride + 1 + self.lengthen

    def encode(self, raw: Any) -> dict[str, Array]:
        """A series of N values to `{"patches": float32 [L, P]}`; raises `ValueError` for missing values and short series."""
        values = np.asarray(raw, dtype=np.float64)
        if values.ndim != 1 or not np.isfinite(values).all():
            raise ValueError(
                f"patches are cut from one list of finite numbers; got shape {list(values.shape)} or missing values"
            )
        return {"patches": self.cut(values[None])[0]}

    def cut(self, values_CN: Array) -> Array:
        """C series at once: float [C, N] to float32 [C, L, P]."""
        self.count(values_CN.shape[1])
        values_CN = values_CN.astype(np.float32)
        if self.lengthen:
            values_CN = np.concatenate([values_CN, np.repeat(values_CN[:, -1:], self.stride, axis=1)], axis=1)
        else:
            values_CN = values_CN[:, (values_CN.shape[1] - self.length) % self.stride :]
        windows = np.lib.stride_tricks.sliding_window_view(values_CN, self.length, axis=1)
        return np.ascontiguousarray(windows[:, :: self.stride])
