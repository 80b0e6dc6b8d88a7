"""Quantiles of a number of values ahead, from the patches behind.

Axis legend: T tokens of the pack, B sequences, N patches a sequence, O horizon, Q quantiles, D width.

* The patches of a sequence are flattened and mapped to all steps at once (Nie et al. 2023, https://arxiv.org/abs/2211.14730),
  or their mean or maximum is.
* The loss is the pinball loss (Koenker and Bassett 1978), which at the level 0.5 is half the absolute error. With one level
  it may be the squared error; what is forecast is then the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from anyformer.nn.layers import initialise
from anyformer.nn.model import Head
from anyformer.nn.pack import Parts, Streams
from anyformer.task import Prediction


class Quantile(Head):
    """Quantiles [horizon, Q] for a sequence. Target part `values`: `horizon` numbers a sequence, NaN where unknown."""

    def __init__(
        self, width: int, horizon: int, quantiles: Sequence[float], num_patches: int, dropout: float = 0.0,
        pool: Literal["flatten", "mean", "max"] = "flatten", squared: bool = False, stream: str = "source",
    ) -> None:  # fmt: skip
        """`pool`: what of the patches is mapped; `squared`: the loss is the squared error of the only level."""
        super().__init__()
        levels = tuple(quantiles)
        assert not squared or len(levels) == 1, "the squared error is of one forecast"
        if not levels or not all(low < high for low, high in pairwise((0, *levels, 1))):
            raise ValueError(f"quantiles must grow from above 0 to below 1, like [0.1, 0.5, 0.9]; got {list(levels)}")
        self.stream = stream
        self.levels = levels
        self.horizon = horizon
        self.num_patches = num_patches
        self.pool = pool
        self.squared = squared
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width * (num_patches if pool == "flatten" else 1), horizon * len(levels))
        initialise(self)

    def forward(self, streams: Streams, at: Int[Tensor, "N"] | None = None) -> Float[Tensor, "N O Q"]:
        """Streams [B * N, D] to quantiles [B, O, Q]; `at` chooses sequences."""
        stream = streams[self.stream]
        assert stream.pack.num_tokens == stream.pack.num_sequences * self.num_patches, "every sequence has num_patches"
        x_BF = self._pooled(stream.x_TD.unflatten(0, (-1, self.num_patches)))
        out = self.output(self.dropout(x_BF if at is None else x_BF[at]))
        return out.unflatten(1, (self.horizon, -1))

    def _pooled(self, x_BND: Float[Tensor, "B N D"]) -> Float[Tensor, "B F"]:
        if self.pool == "flatten":
            return x_BND.flatten(1)
        return x_BND.mean(1) if self.pool == "mean" else x_BND.amax(1)

    def weigh(self, targets: Parts) -> dict[str, Tensor]:
        """The number of known values, times the number of levels."""
        return {"loss": (~targets["values"].values.isnan()).sum().double() * len(self.levels)}

    def loss(self, streams: Streams, targets: Parts) -> dict[str, Tensor]:
        """Sum of the pinball loss over known values and levels, or of the squared error."""
        found_BOQ = self(streams)
        if found_BOQ.dtype in (torch.float16, torch.bfloat16):
            found_BOQ = found_BOQ.float()
        true_BO1 = targets["values"].values.to(found_BOQ.dtype).view(-1, self.horizon, 1)
        known_BO1 = ~true_BO1.isnan()
        miss_BOQ = torch.where(known_BO1, true_BO1, found_BOQ) - found_BOQ
        if self.squared:
            return {"loss": miss_BOQ.square().sum()}
        levels_Q = found_BOQ.new_tensor(self.levels)
        return {"loss": torch.maximum(levels_Q * miss_BOQ, (levels_Q - 1) * miss_BOQ).sum()}

    def split(self, output: Tensor, streams: Streams) -> list[Prediction]:
        """`quantiles` [O, Q] of each sequence, sorted along the levels so that they never cross."""
        return [Prediction({"quantiles": row}) for row in output.float().sort(-1).values.cpu().numpy()]
