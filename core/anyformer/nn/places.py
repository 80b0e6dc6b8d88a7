"""What positions do inside attention, built once a pass: rotary turns, linear biases, relative biases.

Axis legend: T tokens of the pack, D width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anyformer.nn import config, masks
from anyformer.nn.attention import Place
from anyformer.nn.layers import RelativeBias, rotary_steps, rotation
from anyformer.nn.pack import Pack


class Rotary(nn.Module):
    """Queries and keys are turned by their positions."""

    def __init__(self, width: int, settings: config.Position) -> None:
        super().__init__()
        self.width = width
        self.settings = settings
        self.frequencies: Tensor | None
        stored = None
        if settings.stored:
            stored = rotary_steps(width, settings.base, settings.scaling, torch.float32, torch.get_default_device())
        self.register_buffer("frequencies", stored)

    def forward(self, x_TD: Float[Tensor, "T D"], pack: Pack) -> Place:
        """Turns for the tokens of the pack."""
        turns = rotation(pack.positions, self.width, self.settings, x_TD.dtype, self.frequencies)
        return Place(turns=turns, interleaved=self.settings.interleaved)


class Alibi(nn.Module):
    """Logits fall with the distance, faster in some heads than in others."""

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads

    def forward(self, x_TD: Float[Tensor, "T D"], pack: Pack) -> Place:
        """The bias of the longest sequence of the pack."""
        return Place(bias_HLS=masks.alibi(self.num_heads, pack.longest, pack.furthest, x_TD.dtype, x_TD.device))


class Relative(nn.Module):
    """Each bucket of distance has a learned bias for each head."""

    def __init__(self, bias: RelativeBias) -> None:
        super().__init__()
        self.bias = bias

    def forward(self, x_TD: Float[Tensor, "T D"], pack: Pack) -> Place:
        """The bias of the longest sequence of the pack."""
        return Place(bias_HLS=self.bias(pack.longest, pack.furthest))


def places(settings: config.Stack) -> nn.Module | None:
    """The module for a stack's positions; None where the embedding does it all."""
    kind, num_heads = settings.position.kind, settings.attention.heads
    if kind == "rotary":
        return Rotary(settings.rotary_width, settings.position)
    if kind == "alibi":
        return Alibi(num_heads)
    if kind == "relative":
        position = settings.position
        return Relative(RelativeBias(num_heads, position.buckets, position.furthest, settings.causal))
    return None
