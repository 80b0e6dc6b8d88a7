"""From configurations to modules: the only place that reads both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from anyformer.nn import config
from anyformer.nn.attention import Attention
from anyformer.nn.embedding import PatchEmbedding, Positions, StreamEmbedding, TokenEmbedding
from anyformer.nn.layers import FeedForward, initialise, norm
from anyformer.nn.trunk import Block, Stack, Trunk


def trunk(settings: config.Trunk) -> Trunk:
    """The trunk that a configuration describes, weights drawn from the default generator; works on the meta device."""
    encoder = stack(settings.encoder) if settings.encoder else None
    decoder = settings.decoder
    if decoder is not None and decoder.cross and decoder.memory_width is None:
        assert settings.encoder is not None
        decoder = decoder.model_copy(update={"memory_width": settings.encoder.width})
    return Trunk(encoder, stack(decoder) if decoder else None)


def stack(settings: config.Stack) -> Stack:
    """One stack of blocks; in a pre-norm stack, what each half block adds starts small in proportion to the depth."""
    blocks = [_block(settings) for _ in range(settings.depth)]
    for block in blocks:
        initialise(block)
    pre = settings.norm.place == "pre"
    if pre:
        _shrink_residuals(blocks, settings.depth * (3 if settings.cross else 2))
    has_final = pre if settings.norm.final is None else settings.norm.final
    return Stack(
        blocks,
        norm(settings.width, settings.norm) if has_final else None,
        rotary_width=settings.head_width if settings.position.kind == "rotary" else 0,
        rotary_base=settings.position.base,
        dropout=settings.dropout,
    )


def _block(settings: config.Stack) -> Block:
    feed_forward = settings.feed_forward
    return Block(
        attention=_attention(settings, causal=settings.causal),
        cross=_attention(settings, memory_width=settings.memory_width) if settings.cross else None,
        feed_forward=FeedForward(
            settings.width, settings.inner_width, feed_forward.activation, feed_forward.gated, feed_forward.bias,
            feed_forward.dropout,
        ),
        norms=[norm(settings.width, settings.norm) for _ in range(3 if settings.cross else 2)],
        pre_norm=settings.norm.place == "pre",
        dropout=settings.dropout,
    )  # fmt: skip


def _attention(settings: config.Stack, causal: bool = False, memory_width: int | None = None) -> Attention:
    attention = settings.attention
    return Attention(
        settings.width, attention.heads, attention.key_value_heads or attention.heads, settings.head_width,
        attention.bias, attention.output_bias, attention.dropout, causal, memory_width,
    )  # fmt: skip


def _shrink_residuals(blocks: list[Block], num_residuals: int) -> None:
    """As GPT-2 does (Radford et al. 2019), so that the variance of the residual stream does not grow with depth."""
    for block in blocks:
        outputs = [block.attention.output, block.feed_forward.down]
        if block.cross is not None:
            outputs.append(block.cross.output)
        for layer in outputs:
            with torch.no_grad():
                layer.weight.div_(math.sqrt(num_residuals))


def embedding_for(settings: config.Trunk, tokenizers: Mapping[str, Any]) -> StreamEmbedding:
    """The default embedding of a trunk: one for each stack, by its tokenizer.

    With one tokenizer both streams share its table; with two, they are called `source` and `target`.
    """
    only = next(iter(tokenizers.values())) if len(tokenizers) == 1 else None
    modules: dict[str, nn.Module] = {}
    for name, stack_settings in settings.stacks.items():
        tokenizer = only if only is not None else tokenizers.get(name)
        if tokenizer is None:
            raise ValueError(f"the stream {name!r} has no tokenizer; the task has: {', '.join(tokenizers) or 'none'}")
        modules[name] = _embed(stack_settings, tokenizer)
        initialise(modules[name])
    if only is not None and len(modules) == 2 and settings.stacks["source"].width == settings.stacks["target"].width:
        _share_table(modules["source"], modules["target"])
    return StreamEmbedding(modules)


def _embed(settings: config.Stack, tokenizer: Any) -> nn.Module:
    position = settings.position
    positions = Positions(position.kind, settings.width, position.length, position.base)
    if tokenizer.patch_width:
        return PatchEmbedding(tokenizer.patch_width, settings.width, positions)
    # Sinusoids have unit amplitude; the table is scaled up to stand beside them, as in Vaswani et al. 2017.
    scale = math.sqrt(settings.width) if position.kind == "sinusoidal" else 1.0
    return TokenEmbedding(tokenizer.vocabulary_size, settings.width, positions, scale)


def _share_table(source: nn.Module, target: nn.Module) -> None:
    if isinstance(source, TokenEmbedding) and isinstance(target, TokenEmbedding):
        target.table.weight = source.table.weight
