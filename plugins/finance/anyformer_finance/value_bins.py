"""Value bins: each value of a series is one of a few thousand words (Ansari et al. 2024, Chronos: Learning the Language of
Time Series, https://arxiv.org/abs/2403.07815).

Axis legend: L values or ids, K bins.

* A series is divided by the mean of its absolute values, so that its sign and its zero are kept; then a bin is chosen, by
  uniform centres between two limits. What lies beyond them falls into the outermost bins.
* With M ids, S of them special, there are K = M - S - 1 bins, and their ids begin at S + 1: the id S is never used.
* Computed in float64, where the published code has fp32: a value on the edge of a bin may have the neighbour's id there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from anyformer.task import Array, Frozen, Tokenizer


class ValueBins(Tokenizer):
    """Values [L] to ids int64 [L], and back to the centres of their bins."""

    class Config(Frozen):
        """How values are counted, with the settings of the published models."""

        low: float = Field(default=-15.0, allow_inf_nan=False)
        """Centre of the first bin, in means of absolute values."""
        high: float = Field(default=15.0, allow_inf_nan=False)
        """Centre of the last bin."""
        num_tokens: int = Field(default=4096, ge=4, le=1_000_000)
        """Ids, M: those of the bins and the special ones."""
        num_special: int = Field(default=2, ge=1)
        """Special ids, S, the first ones."""
        pad: int = Field(default=0, ge=0)
        """The special id of a missing value; it also begins what is written."""
        end: int = Field(default=1, ge=0)
        """The special id that ends a series."""
        ends: bool = True
        """Whether a series is given its end."""

        @model_validator(mode="after")
        def _consistent(self) -> Self:
            if self.high <= self.low:
                raise ValueError(f"high {self.high:g} must be greater than low {self.low:g}")
            if self.num_tokens - self.num_special < 3:
                raise ValueError(
                    f"num_tokens {self.num_tokens} leaves less than two bins beside num_special {self.num_special}; "
                    f"set it to {self.num_special + 3} or more"
                )
            for name, id in (("pad", self.pad), ("end", self.end)):
                if id >= self.num_special:
                    raise ValueError(f"{name} is {id}; special ids are below num_special {self.num_special}")
            return self

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.vocabulary_size = config.num_tokens
        self.start_id, self.end_id = config.pad, config.end
        self.special_ids = frozenset(range(config.num_special + 1))
        self.centres_K = np.linspace(config.low, config.high, config.num_tokens - config.num_special - 1)
        """Values that the bins stand for, in means of absolute values."""
        self._edges = (self.centres_K[1:] + self.centres_K[:-1]) / 2

    @classmethod
    def read(cls, folder: Path, config: Mapping[str, Any]) -> ValueBins:
        """As a checkpoint's `config.json` says, in its `chronos_config`."""
        bins = config["chronos_config"]
        limits = bins["tokenizer_kwargs"]
        given = {
            "low": limits["low_limit"], "high": limits["high_limit"], "num_tokens": bins["n_tokens"],
            "num_special": bins["n_special_tokens"], "pad": bins["pad_token_id"], "end": bins["eos_token_id"],
            "ends": bins["use_eos_token"],
        }  # fmt: skip
        return cls(cls.Config.model_validate(given))

    def write(self, folder: Path) -> bool:
        """Nothing: a checkpoint's `config.json` says it all."""
        return True

    def scale(self, values: Array) -> float:
        """The mean of the absolute values [L] that are not missing; 1 if it is 0, or all are missing."""
        known = np.abs(values[~np.isnan(values)])
        return float(known.mean()) if known.any() else 1.0

    def ids(self, values: Array, scale: float) -> Array:
        """The ids int64 [L] of values [L] on a scale, without an end; a missing value has the pad's."""
        # A bin holds its lower edge.
        found = np.searchsorted(self._edges, values / scale, side="right") + self.config.num_special + 1
        return np.where(np.isnan(values), self.config.pad, found).astype(np.int64)

    def values(self, ids: Array, scale: float) -> Array:
        """The centres of the bins of ids of any shape, on a scale; ids before the first bin mean the first one."""
        first = self.config.num_special + 1
        found: Array = self.centres_K[np.clip(ids - first, 0, len(self.centres_K) - 1)] * scale
        return found

    def closed(self, ids: Array) -> Array:
        """The ids with the end of the series, if it is given one."""
        return np.append(ids, self.config.end) if self.config.ends else ids

    def encode(self, raw: Any) -> dict[str, Array]:
        """A series of values, NaN where one is missing, to `{"ids": int64 [L]}` on its own scale, with its end.

        Raises `ValueError` for anything else than one list of numbers, and for infinity.
        """
        values = np.asarray(raw, dtype=np.float64)
        if values.ndim != 1 or np.isinf(values).any():
            raise ValueError(
                f"bins are found for one list of finite numbers; got shape {list(values.shape)} or infinite values"
            )
        return {"ids": self.closed(self.ids(values, self.scale(values)))}

    def decode(self, ids: Array, final: bool = True) -> Array:
        """Values float64 [L] of ids, in means of absolute values; special ids are left out."""
        return self.values(ids[ids > self.config.num_special], 1.0)
