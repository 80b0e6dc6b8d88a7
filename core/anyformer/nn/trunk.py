"""The Transformer: blocks, a stack of them, and the trunk of one or two stacks.

Axis legend: T tokens of the pack, D width.

* Encoder, decoder and encoder-decoder are one stack with two booleans: causal and cross.
* Modules take parts and plain values; `anyformer.nn.build` makes them from a configuration.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anyformer.nn.attention import Attention, Watch
from anyformer.nn.cache import Cache, Memory
from anyformer.nn.layers import FeedForward, rotation
from anyformer.nn.pack import Pack, Stream, Streams


class Block(nn.Module):
    """Self-attention, cross-attention if asked for, feed-forward; each with a residual and a norm before it or after it."""

    def __init__(
        self, attention: Attention, feed_forward: FeedForward, norms: list[nn.Module], pre_norm: bool,
        cross: Attention | None = None, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.attention = attention
        self.attention_norm = norms[0]
        self.cross = cross
        self.cross_norm = norms[1] if cross is not None else None
        self.feed_forward = feed_forward
        self.feed_forward_norm = norms[-1]
        self.pre_norm = pre_norm
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, stream: Stream, turns: Float[Tensor, "2 T 1 half"] | None, memory: Memory | None, cache: Cache | None,
        block: int, watch: Watch | None,
    ) -> Stream:  # fmt: skip
        """A stream [T, D] to a stream [T, D]."""
        x_TD, pack, place = stream.x_TD, stream.pack, stream.position_TD
        norm = self.attention_norm
        if self.pre_norm:
            x_TD = x_TD + self.dropout(self.attention(norm(x_TD), pack, turns, place, cache, block, watch))
        else:
            x_TD = norm(x_TD + self.dropout(self.attention(x_TD, pack, turns, place, cache, block, watch)))
        if self.cross is not None and self.cross_norm is not None:
            assert memory is not None, "cross-attention needs a memory"
            norm = self.cross_norm
            if self.pre_norm:
                x_TD = x_TD + self.dropout(self.cross.cross(norm(x_TD), pack, memory, place, cache, block))
            else:
                x_TD = norm(x_TD + self.dropout(self.cross.cross(x_TD, pack, memory, place, cache, block)))
        norm = self.feed_forward_norm
        if self.pre_norm:
            x_TD = x_TD + self.dropout(self.feed_forward(norm(x_TD)))
        else:
            x_TD = norm(x_TD + self.dropout(self.feed_forward(x_TD)))
        return Stream(x_TD, pack, place)


class Stack(nn.Module):
    """Blocks one after another, and a last norm."""

    def __init__(
        self, blocks: list[Block], final_norm: nn.Module | None, rotary_width: int = 0, rotary_base: float = 10000.0,
        dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.final_norm = final_norm
        self.rotary_width = rotary_width
        self.rotary_base = rotary_base
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, stream: Stream, memory: Memory | None = None, cache: Cache | None = None, watch: Watch | None = None
    ) -> Stream:
        """A stream [T, D] to a stream [T, D]; with a cache, the pack holds only the tokens that are new."""
        x_TD: Float[Tensor, "T D"] = self.dropout(stream.x_TD)
        stream = Stream(x_TD, stream.pack, stream.position_TD)
        turns = self._turns(stream.pack, x_TD.dtype)
        for index, block in enumerate(self.blocks):
            stream = block(stream, turns, memory, cache, index, watch)
        if self.final_norm is not None:
            stream = Stream(self.final_norm(stream.x_TD), stream.pack, stream.position_TD)
        if cache is not None:
            cache.advance(stream.pack)
        return stream

    def _turns(self, pack: Pack, dtype: torch.dtype) -> Tensor | None:
        if not self.rotary_width:
            return None
        return rotation(pack.positions, self.rotary_width, self.rotary_base, dtype)


class Trunk(nn.Module):
    """The shared Transformer: an encoder over `source`, a decoder over `target`, or both."""

    def __init__(self, encoder: Stack | None, decoder: Stack | None) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(
        self, streams: Streams, cache: Cache | None = None, memory: Memory | None = None, watch: Watch | None = None
    ) -> Streams:
        """Streams [T, D] by name to streams [T, D] by the same names.

        Args:
            streams: `source` for the encoder, `target` for the decoder.
            cache: of the decoder; its pack then holds only new tokens.
            memory: an encoder's output from before, instead of `source`.
            watch: gets the maps of every self-attention.
        """
        out: Streams = {}
        if self.encoder is not None and "source" in streams:
            out["source"] = self.encoder(streams["source"], watch=watch)
        if self.decoder is not None and "target" in streams:
            if memory is None and "source" in out:
                memory = Memory(out["source"])
            out["target"] = self.decoder(streams["target"], memory, cache, watch)
        return out
