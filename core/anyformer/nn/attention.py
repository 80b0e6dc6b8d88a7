"""Multi-head attention, self and cross: projections around `attend`.

Axis legend: T query tokens, S key tokens, L length, H query heads, K key-value heads, E head width, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anyformer.nn.attend import attend, attention_maps
from anyformer.nn.cache import Cache, Memory
from anyformer.nn.layers import rotate
from anyformer.nn.pack import Pack
from anyformer.nn.single import read

Watch = Callable[[int, int, Tensor], None]
"""Called with (layer, sequence, maps [H, L, S]), layer by layer; reduce at once, nothing is stored."""


@dataclass(frozen=True, eq=False)
class Place:
    """What positions do inside attention, built once a pass by the stack."""

    turns: Float[Tensor, "2 T 1 half"] | None = None
    """Rotary cosines and sines of the tokens, for queries and keys."""
    interleaved: bool = False
    bias_HLS: Float[Tensor, "H longest_L longest_S"] | None = None
    """Added to the logits; sequences shorter than the longest take its last rows and columns."""


class Attention(nn.Module):
    """Scaled dot-product attention with its projections; keys and values come from the queries' pack, or from a memory.

    Queries, keys and values keep weights of their own: sharding, adapters and checkpoint layouts need them apart.
    """

    def __init__(
        self, width: int, num_heads: int, num_key_value_heads: int, head_width: int, bias: bool = True,
        output_bias: bool = True, dropout: float = 0.0, causal: bool = False, memory_width: int | None = None,
        scale: float | None = None, window: int = 0, head_norms: tuple[nn.Module, nn.Module] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.head_width = head_width
        self.causal = causal
        self.dropout = dropout
        self.scale = scale
        self.window = window
        self.heads: slice | None = None
        """Those of this process, where they are split over several; None: all."""
        self.query_norm, self.key_norm = head_norms or (nn.Identity(), nn.Identity())
        self.query = nn.Linear(width, num_heads * head_width, bias=bias)
        self.key = nn.Linear(memory_width or width, num_key_value_heads * head_width, bias=bias)
        self.value = nn.Linear(memory_width or width, num_key_value_heads * head_width, bias=bias)
        self.output = nn.Linear(num_heads * head_width, width, bias=output_bias)
        self.joined: nn.Module | None = None
        """In a model that only answers, what stands for `query`, `key` and `value`, or across for `key` and `value`: from
        vectors and their positions, or None, to the projections of each, [T, heads * E]."""

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_width))

    def forward(
        self,
        x_TD: Float[Tensor, "T D"],
        pack: Pack,
        place: Place | None = None,
        position_TD: Float[Tensor, "T D"] | None = None,
        cache: Cache | None = None,
        block: int = 0,
        watch: Watch | None = None,
    ) -> Float[Tensor, "T D"]:
        """Self-attention: [T, D] to [T, D].

        Args:
            x_TD: the tokens.
            pack: how they split.
            place: what the stack's positions do to queries, keys and logits.
            position_TD: added to what queries and keys are made from, not values (Carion et al. 2020).
            cache: keys and values of earlier tokens; the new ones are appended.
            block: index of the block, the cache's key.
            watch: gets the attention maps.
        """
        if self.joined is None:
            placed_TD = x_TD if position_TD is None else x_TD + position_TD
            projected = self.query(placed_TD), self.key(placed_TD), self.value(x_TD)
        else:
            projected = self.joined(x_TD, position_TD)
        q_THE, k_TKE, v_TKE = (self._heads(each) for each in projected)
        q_THE, k_TKE = self.query_norm(q_THE), self.key_norm(k_TKE)
        if place is not None and place.turns is not None:
            q_THE, k_TKE = (rotate(x_THE, place.turns, place.interleaved) for x_THE in (q_THE, k_TKE))
        bias_HLS = None if place is None else place.bias_HLS
        if bias_HLS is not None and self.heads is not None:
            bias_HLS = bias_HLS[self.heads]
        if cache is None:
            return self._mix(q_THE, k_TKE, v_TKE, pack, pack.bounds, pack.offsets, bias_HLS, block, watch)
        k_SKE, v_SKE, reads = cache.write(block, k_TKE, v_TKE, pack)
        if reads.runs is not None and watch is None and not self.training:
            return self.output(read(q_THE, k_SKE, v_SKE, reads.runs, bias_HLS, self.window, self.scale).flatten(1))
        return self._mix(q_THE, k_SKE, v_SKE, pack, reads.bounds, reads.offsets, bias_HLS, block, watch)

    def cross(
        self,
        x_TD: Float[Tensor, "T D"],
        pack: Pack,
        memory: Memory,
        position_TD: Float[Tensor, "T D"] | None = None,
        cache: Cache | None = None,
        block: int = 0,
    ) -> Float[Tensor, "T D"]:
        """Cross-attention of [T, D] over a memory, to [T, D]; a cache keeps its keys and values for later passes."""
        q_THE = self.query_norm(self._heads(self.query(x_TD if position_TD is None else x_TD + position_TD)))
        if memory.stream is None:
            assert cache is not None, "a memory without a stream is in the cache"
            k_SKE, v_SKE, reads = cache.recall(block, pack)
            if reads.runs is not None and not self.training:
                return self.output(read(q_THE, k_SKE, v_SKE, reads.runs, None, self.window, self.scale).flatten(1))
            return self._mix(q_THE, k_SKE, v_SKE, pack, reads.bounds, None, None, block, None)
        read_SD, position_SD = memory.stream.x_TD, memory.stream.position_TD
        if self.joined is None:
            projected = self.key(read_SD if position_SD is None else read_SD + position_SD), self.value(read_SD)
        else:
            projected = self.joined(read_SD, position_SD)
        k_SKE, v_SKE = (self._heads(each) for each in projected)
        k_SKE = self.key_norm(k_SKE)
        if cache is not None:
            cache.keep(block, k_SKE, v_SKE, memory)
        return self._mix(q_THE, k_SKE, v_SKE, pack, memory.bounds, memory.offsets, None, block, None)

    def _mix(
        self, q_THE: Tensor, k_SKE: Tensor, v_SKE: Tensor, pack: Pack, k_bounds: Tensor, k_offsets: Tensor | None,
        bias_HLS: Tensor | None, block: int, watch: Watch | None,
    ) -> Tensor:  # fmt: skip
        rules: dict[str, Any] = {"causal": self.causal, "window": self.window, "scale": self.scale}
        if watch is not None:
            with torch.no_grad():
                for index, (query, key) in enumerate(zip(pack.bounds.tolist(), k_bounds.tolist(), strict=True)):
                    watch(
                        block,
                        index,
                        attention_maps(q_THE[slice(*query)], k_SKE[slice(*key)], bias_HLS=bias_HLS, **rules),
                    )
        dropout = self.dropout if self.training else 0.0
        mixed_THE = attend(
            q_THE.to(k_SKE.dtype),
            k_SKE,
            v_SKE,
            pack.bounds,
            k_bounds,
            pack.offsets,
            k_offsets,
            bias_HLS=bias_HLS,
            dropout=dropout,
            **rules,
        )
        return self.output(mixed_THE.flatten(1).to(q_THE.dtype))
