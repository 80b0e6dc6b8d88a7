"""Norms, rotary positions and the feed-forward layer: the token-wise parts of a block.

Axis legend: T tokens of the pack, H heads, E head width, D width, F feed-forward width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from anyformer.nn import config

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
}


def norm(width: int, settings: config.Norm) -> nn.Module:
    """The normalisation that the configuration names, over the last axis."""
    if settings.kind == "rms":
        return nn.RMSNorm(width, eps=settings.epsilon)
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


def rotation(
    positions: Int[Tensor, "T"], head_width: int, base: float, dtype: torch.dtype
) -> Float[Tensor, "2 T 1 half"]:
    """Cosines and sines of rotary positions (Su et al. 2021, https://arxiv.org/abs/2104.09864), built once a pass.

    Angles are computed in fp32, or in float64 for a float64 model: half precision cannot tell far positions apart.
    """
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    steps = torch.arange(0, head_width, 2, dtype=wide, device=positions.device)
    angles_TE = positions.to(wide)[:, None] * base ** (-steps / head_width)
    return torch.stack([angles_TE.cos(), angles_TE.sin()]).unsqueeze(2).to(dtype)


def rotate(x_THE: Float[Tensor, "T H E"], turns: Float[Tensor, "2 T 1 half"]) -> Float[Tensor, "T H E"]:
    """Turn the two halves of each head by their angles: coordinate i goes with coordinate i + E / 2.

    The result has the dtype of `x_THE`, also under autocast, where the angles are wider than the projections.
    """
    cos, sin = turns[0], turns[1]
    left, right = x_THE.chunk(2, dim=-1)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1).to(x_THE.dtype)


def sinusoids(positions: Int[Tensor, "T"], width: int, base: float, dtype: torch.dtype) -> Float[Tensor, "T D"]:
    """Sinusoidal positions (Vaswani et al. 2017): sines in even columns, cosines in odd ones."""
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    steps = torch.arange(0, width, 2, dtype=wide, device=positions.device)
    angles = positions.to(wide)[:, None] * base ** (-steps / width)
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
