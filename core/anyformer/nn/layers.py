"""Norms, positions, the feed-forward layer, and what may stand between a half block and the residual sum.

Axis legend: T tokens of the pack, B sequences, H heads, E head width, D width, F feed-forward width, L queries, S keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from anyformer.nn import config, masks
from anyformer.nn.pack import Pack

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
    "tanh": torch.tanh,
}


def norm(width: int, settings: config.Norm) -> nn.Module:
    """The normalisation that the configuration names, over the last axis."""
    if settings.kind == "rms":
        return nn.RMSNorm(width, eps=settings.epsilon)
    if settings.kind == "batch":
        return nn.BatchNorm1d(width, eps=settings.epsilon)
    return nn.LayerNorm(width, eps=settings.epsilon, bias=settings.bias)


class FeedForward(nn.Module):
    """Two projections with an activation between them, or three when gated (Shazeer 2020, https://arxiv.org/abs/2002.05202)."""

    def __init__(
        self, width: int, inner_width: int, activation: str = "gelu", gated: bool = False, bias: bool = True,
        dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.up = nn.Linear(width, inner_width, bias=bias)
        self.gate = nn.Linear(width, inner_width, bias=bias) if gated else None
        self.down = nn.Linear(inner_width, width, bias=bias)
        self.activation = ACTIVATIONS[activation]
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_TD: Float[Tensor, "T D"]) -> Float[Tensor, "T D"]:
        """[T, D] to [T, D], token by token."""
        if self.gate is None:
            return self.down(self.dropout(self.activation(self.up(x_TD))))
        return self.down(self.dropout(self.activation(self.gate(x_TD)) * self.up(x_TD)))


def rotary_steps(
    width: int, base: float, scaling: config.LinearScaling | config.BandScaling | None, wide: torch.dtype,
    device: torch.device,
) -> Tensor:  # fmt: skip
    """Angle of each pair for one position, [width / 2]."""
    steps = base ** (-torch.arange(0, width, 2, dtype=wide, device=device) / width)
    if isinstance(scaling, config.LinearScaling):
        return steps / scaling.factor
    if isinstance(scaling, config.BandScaling):
        turns = scaling.original_length * steps / (2 * math.pi)
        share = ((turns - scaling.low) / (scaling.high - scaling.low)).clamp(0, 1)
        return share * steps + (1 - share) * steps / scaling.factor
    return steps


def rotation(
    positions: Int[Tensor, "T"], width: int, position: config.Position, dtype: torch.dtype,
    stored: Float[Tensor, "half"] | None = None,
) -> Float[Tensor, "2 T 1 half"]:  # fmt: skip
    """Cosines and sines of rotary positions (Su et al. 2021, https://arxiv.org/abs/2104.09864), built once a pass.

    Angles are computed in fp32, or in float64 for a float64 model: half precision cannot tell far positions apart.
    `stored` are the frequencies to use; None: computed.
    """
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    if stored is None:
        steps = rotary_steps(width, position.base, position.scaling, wide, positions.device)
    else:
        steps = stored.to(wide)
    angles = positions.to(wide)[:, None] * steps
    return torch.stack([angles.cos(), angles.sin()]).unsqueeze(2).to(dtype)


def rotate(
    x_THE: Float[Tensor, "T H E"], turns: Float[Tensor, "2 T 1 half"], interleaved: bool = False
) -> Float[Tensor, "T H E"]:
    """Turn pairs of coordinates by their angles: i goes with i + half, or 2 i with 2 i + 1 where interleaved.

    Coordinates beyond twice the number of angles stay as they are. The result has the dtype of `x_THE`, also under
    autocast, where the angles are wider than the projections.
    """
    cos, sin = turns[0], turns[1]
    turned, kept = x_THE.split([2 * cos.shape[-1], x_THE.shape[-1] - 2 * cos.shape[-1]], dim=-1)
    if interleaved:
        left, right = turned[..., 0::2], turned[..., 1::2]
        pairs = torch.stack([left * cos - right * sin, right * cos + left * sin], dim=-1).flatten(-2)
    else:
        left, right = turned.chunk(2, dim=-1)
        pairs = torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1)
    pairs = pairs.to(x_THE.dtype)
    return pairs if not kept.shape[-1] else torch.cat([pairs, kept], dim=-1)


class RelativeBias(nn.Module):
    """A learned bias for each bucket of distance and each head, one table a stack (Raffel et al. 2020)."""

    def __init__(self, num_heads: int, num_buckets: int, furthest: int, causal: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(num_buckets, num_heads)
        self.furthest = furthest
        self.causal = causal

    def forward(self, num_queries: int, num_keys: int) -> Float[Tensor, "H L S"]:
        """The bias of the longest sequence."""
        apart = masks.distances(num_queries, num_keys, self.table.weight.device)
        buckets_LS = masks.buckets(apart, self.table.num_embeddings, self.furthest, self.causal)
        # Not `weight[buckets]`, whose gradient is summed in another order each time.
        return self.table(buckets_LS).permute(2, 0, 1)


class LayerScale(nn.Module):
    """A learned factor for each width (Touvron et al. 2021, https://arxiv.org/abs/2103.17239)."""

    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), start))

    def forward(self, x_TD: Float[Tensor, "T D"]) -> Float[Tensor, "T D"]:
        """[T, D] to [T, D]."""
        return x_TD * self.weight


class StochasticDepth(nn.Module):
    """In training, leave out what a half block adds, for whole sequences at random; the others are scaled up."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x_TD: Float[Tensor, "T D"], pack: Pack) -> Float[Tensor, "T D"]:
        """[T, D] to [T, D]."""
        if not self.training or not self.rate:
            return x_TD
        kept_B = (torch.rand(pack.num_sequences, device=x_TD.device) >= self.rate).to(x_TD.dtype) / (1 - self.rate)
        return x_TD * kept_B[pack.sequence_T, None]


def sinusoids(
    positions: Int[Tensor, "T"], width: int, base: float, dtype: torch.dtype, halves: bool = False
) -> Float[Tensor, "T D"]:
    """Sinusoidal positions (Vaswani et al. 2017): sines in even columns, cosines in odd ones, or one half each."""
    # In fp32 the angles of far positions would be off by more than the table's own rounding.
    steps = torch.arange(0, width, 2, dtype=torch.float64, device=positions.device)
    angles = positions.double()[:, None] * base ** (-steps / width)
    if halves:
        return torch.cat([angles.sin(), angles.cos()], dim=-1).to(dtype)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width].to(dtype)


def initialise(module: nn.Module) -> None:
    """Draw the weights of a new model.

    Projections are Glorot-uniform, tables normal with standard deviation 1 / sqrt(D), biases 0 and norms 1.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=part.embedding_dim**-0.5)
