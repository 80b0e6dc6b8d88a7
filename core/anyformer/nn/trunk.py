"""The Transformer: blocks, a stack of them, and the trunk of one or two stacks.

Axis legend: T tokens of the pack, D width, H heads, L queries, S keys.

* Encoder, decoder and encoder-decoder are one stack with two booleans: causal and cross.
* Modules take parts and plain values; `anyformer.nn.build` makes them from a configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor, nn

from anyformer.nn.attention import Attention, Place, Watch
from anyformer.nn.cache import Cache, Memory
from anyformer.nn.layers import FeedForward, LayerScale, StochasticDepth
from anyformer.nn.pack import Pack, Stream, Streams

Placing = Callable[[Tensor, Pack], Place | None]
"""From a stream's vectors and pack to what its positions do inside attention."""


class Residual(nn.Module):
    """A half block's way into the residual sum: its norm, dropout, layer scale and stochastic depth."""

    def __init__(
        self, norm: nn.Module, pre_norm: bool, dropout: float = 0.0, scale: LayerScale | None = None, skip: float = 0.0
    ) -> None:
        super().__init__()
        self.norm = norm
        self.pre_norm = pre_norm
        self.dropout = nn.Dropout(dropout)
        self.scale = scale
        self.stochastic_depth = StochasticDepth(skip)

    def forward(self, stream: Stream, change: Callable[[Tensor], Tensor]) -> Stream:
        """A stream [T, D] to itself plus what `change` makes of it."""
        x_TD = stream.x_TD
        if self.pre_norm:
            return replace(stream, x_TD=x_TD + self.shape(change(self.norm(x_TD)), stream.pack))
        return replace(stream, x_TD=self.norm(x_TD + self.shape(change(x_TD), stream.pack)))

    def shape(self, added_TD: Tensor, pack: Pack) -> Tensor:
        """What is added [T, D], dropped out and scaled."""
        added_TD = self.dropout(added_TD)
        if self.scale is not None:
            added_TD = self.scale(added_TD)
        return self.stochastic_depth(added_TD, pack)


class Block(nn.Module):
    """Self-attention, cross-attention if asked for, and feed-forward, one after another."""

    def __init__(
        self, attention: Attention, attention_residual: Residual, feed_forward: FeedForward, feed_forward_residual: Residual,
        cross: Attention | None = None, cross_residual: Residual | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.attention = attention
        self.attention_residual = attention_residual
        self.cross = cross
        self.cross_residual = cross_residual
        self.feed_forward = feed_forward
        self.feed_forward_residual = feed_forward_residual

    def forward(
        self, stream: Stream, place: Place | None, memory: Memory | None, cache: Cache | None, block: int,
        watch: Watch | None,
    ) -> Stream:  # fmt: skip
        """A stream [T, D] to a stream [T, D]."""
        pack, position_TD = stream.pack, stream.position_TD
        stream = self.attention_residual(
            stream, lambda x_TD: self.attention(x_TD, pack, place, position_TD, cache, block, watch)
        )
        if self.cross is not None and self.cross_residual is not None:
            cross = self.cross
            assert memory is not None, "cross-attention needs a memory"
            stream = self.cross_residual(
                stream, lambda x_TD: cross.cross(x_TD, pack, memory, position_TD, cache, block)
            )
        return self.feed_forward_residual(stream, self.feed_forward)


class ParallelBlock(nn.Module):
    """Attention and feed-forward of one norm, added together (Chowdhery et al. 2022, https://arxiv.org/abs/2204.02311)."""

    def __init__(self, attention: Attention, feed_forward: FeedForward, residual: Residual) -> None:
        super().__init__()
        self.attention = attention
        self.feed_forward = feed_forward
        self.residual = residual

    def forward(
        self, stream: Stream, place: Place | None, memory: Memory | None, cache: Cache | None, block: int,
        watch: Watch | None,
    ) -> Stream:  # fmt: skip
        """A stream [T, D] to a stream [T, D]."""

        pack, position_TD = stream.pack, stream.position_TD
        return self.residual(
            stream,
            lambda x_TD: self.attention(x_TD, pack, place, position_TD, cache, block, watch) + self.feed_forward(x_TD),
        )


class Stack(nn.Module):
    """Blocks one after another, and a last norm."""

    def __init__(
        self, blocks: list[Block] | list[ParallelBlock], final_norm: nn.Module | None, positions: nn.Module | None = None,
        dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.final_norm = final_norm
        self.positions = positions
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, stream: Stream, memory: Memory | None = None, cache: Cache | None = None, watch: Watch | None = None,
        deep: bool = False,
    ) -> Stream:  # fmt: skip
        """A stream [T, D] to a stream [T, D]; with a cache, the pack holds only the tokens that are new.

        With `deep`, the stream also carries what the earlier blocks put out.
        """
        stream = replace(stream, x_TD=self.dropout(stream.x_TD))
        place = None if self.positions is None else self.positions(stream.x_TD, stream.pack)
        between_NTD = stream.between_NTD
        outputs: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            stream = block(stream, place, memory, cache, index, watch)
            if deep:
                outputs.append(stream.x_TD)
            if between_NTD is not None and index < len(between_NTD):
                stream = replace(stream, x_TD=stream.x_TD + between_NTD[index])
        if cache is not None:
            cache.advance(stream.pack)
        return replace(stream, x_TD=self._last(stream.x_TD), earlier=tuple(self._last(x_TD) for x_TD in outputs[:-1]))

    def _last(self, x_TD: Tensor) -> Tensor:
        """What a block put out [T, D] through the final norm, where there is one."""
        return x_TD if self.final_norm is None else self.final_norm(x_TD)


class Trunk(nn.Module):
    """The shared Transformer: an encoder over `source`, a decoder over `target`, or both."""

    def __init__(self, encoder: Stack | None, decoder: Stack | None) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(
        self, streams: Streams, cache: Cache | None = None, memory: Memory | None = None, watch: Watch | None = None,
        deep: bool = False,
    ) -> Streams:  # fmt: skip
        """Streams [T, D] by name to streams [T, D] by the same names.

        Args:
            streams: `source` for the encoder, `target` for the decoder.
            cache: of the decoder; its pack then holds only new tokens.
            memory: an encoder's output from before, instead of `source`.
            watch: gets the self-attention maps of the stack that the head reads.
            deep: the stream that the head reads carries what each of its blocks put out.
        """
        is_last = self.decoder is None or "target" not in streams
        out: Streams = {}
        if self.encoder is not None and "source" in streams:
            out["source"] = self.encoder(streams["source"], watch=watch if is_last else None, deep=deep and is_last)
        if self.decoder is not None and "target" in streams:
            if memory is None and "source" in out:
                memory = Memory(out["source"])
            out["target"] = self.decoder(streams["target"], memory, cache, watch, deep)
        return out
