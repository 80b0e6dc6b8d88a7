"""Quantiles of a number of values ahead, from the patches behind.

Axis legend: T tokens of the pack, B sequences, N patches a sequence, O horizon, Q quantiles, D width.

* The patches of a sequence are flattened and mapped to all steps at once (Nie et al. 2023, https://arxiv.org/abs/2211.14730).
* The loss is the pinball loss (Koenker and Bassett 1978), which at the level 0.5 is half the absolute error.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

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
        stream: str = "source",
    ) -> None:  # fmt: skip
        super().__init__()
        levels = tuple(quantiles)
        if not levels or not all(low < high for low, high in pairwise((0, *levels, 1))):
            raise ValueError(f"quantiles must grow from above 0 to below 1, like [0.1, 0.5, 0.9]; got {list(levels)}")
        self.stream = stream
        self.levels = levels
        self.horizon = horizon
        self.num_patches = num_patches
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(num_patches * width, horizon * len(levels))
        initialise(self)

    def forward(self, streams: Streams, at: Int[Tensor, "N"] | None = None) -> Float[Tensor, "N O Q"]:
        """Streams [B * N, D] to quantiles [B, O, Q]; `at` chooses sequences."""
        stream = streams[self.stream]
        assert stream.pack.num_tokens == stream.pack.num_sequences * self.num_patches, "every sequence has num_patches"
        x_BF = stream.x_TD.reshape(-1, self.num_patches * stream.x_TD.shape[1])
        out = self.output(self.dropout(x_BF if at is None else x_BF[at]))
        return out.unflatten(1, (self.horizon, -1))

    def weigh(self, targets: Parts) -> dict[str, Tensor]:
        """The number of known values, times the number of levels."""
        return {"loss": (~targets["values"].values.isnan()).sum().double() * len(self.levels)}

    def loss(self, streams: Streams, targets: Parts) -> dict[str, Tensor]:
        """Sum of the pinball loss over known values and levels."""
        found_BOQ = self(streams)
        if found_BOQ.dtype in (torch.float16, torch.bfloat16):
            found_BOQ = found_BOQ.float()
        true_BO1 = targets["values"].values.to(found_BOQ.dtype).view(-1, self.horizon, 1)
        known_BO1 = ~true_BO1.isnan()
        miss_BOQ = torch.where(known_BO1, true_BO1, found_BOQ) - found_BOQ
        levels_Q = found_BOQ.new_tensor(self.levels)
        return {"loss": torch.maximum(levels_Q * miss_BOQ, (levels_Q - 1) * miss_BOQ).sum()}

    def split(self, output: Tensor, streams: Streams) -> list[Prediction]:
        """`quantiles` [O, Q] of each sequence, sorted along the levels so that they never cross."""
        return [Prediction({"quantiles": row}) for row in output.float().sort(-1).values.cpu().numpy()]
