"""From configurations to modules: the only place that reads both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from anyformer.nn import config
from anyformer.nn.attention import Attention
from anyformer.nn.embedding import Masked, PatchEmbedding, Positions, StreamEmbedding, TokenEmbedding
from anyformer.nn.layers import FeedForward, LayerScale, initialise, norm
from anyformer.nn.places import places
from anyformer.nn.trunk import Block, ParallelBlock, Residual, Stack, Trunk


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
    pre_norm = settings.norm.place == "pre"
    blocks: list[Any] = []
    for index in range(settings.depth):
        # The last block is skipped most often: a chance that grows evenly from 0 (Huang et al. 2016).
        skip = settings.stochastic_depth * index / max(1, settings.depth - 1)
        blocks.append(_parallel_block(settings, skip) if settings.parallel else _block(settings, skip))
        initialise(blocks[-1])
    if pre_norm:
        _shrink_residuals(blocks, settings.depth * (3 if settings.cross else 2))
    has_final = pre_norm if settings.norm.final is None else settings.norm.final
    positions = places(settings)
    if positions is not None:
        initialise(positions)
    return Stack(blocks, norm(settings.width, settings.norm) if has_final else None, positions, settings.dropout)


def _block(settings: config.Stack, skip: float) -> Block:
    return Block(
        _attention(settings, causal=settings.causal), _residual(settings, skip),
        _feed_forward(settings), _residual(settings, skip),
        _attention(settings, memory_width=settings.memory_width) if settings.cross else None,
        _residual(settings, skip) if settings.cross else None,
    )  # fmt: skip


def _parallel_block(settings: config.Stack, skip: float) -> ParallelBlock:
    return ParallelBlock(
        _attention(settings, causal=settings.causal), _feed_forward(settings), _residual(settings, skip)
    )


def _residual(settings: config.Stack, skip: float) -> Residual:
    scale = None if settings.layer_scale is None else LayerScale(settings.width, settings.layer_scale)
    pre_norm = settings.norm.place == "pre"
    return Residual(norm(settings.width, settings.norm), pre_norm, settings.dropout, scale, skip)


def _feed_forward(settings: config.Stack) -> FeedForward:
    of = settings.feed_forward
    return FeedForward(settings.width, settings.inner_width, of.activation, of.gated, of.bias, of.dropout)


def _attention(settings: config.Stack, causal: bool = False, memory_width: int | None = None) -> Attention:
    of = settings.attention
    head_norms = None
    if of.query_key_norm != "none":
        kind = settings.norm.model_copy(update={"kind": of.query_key_norm})
        head_norms = (norm(settings.head_width, kind), norm(settings.head_width, kind))
    # A window is a matter of the stack's own tokens: cross-attention sees the whole memory.
    window = 0 if memory_width is not None else of.window or 0
    return Attention(
        settings.width, of.heads, of.key_value_heads or of.heads, settings.head_width, of.bias, of.output_bias, of.dropout,
        causal, memory_width, of.scale, window, head_norms,
    )  # fmt: skip


def _shrink_residuals(blocks: list[Any], num_residuals: int) -> None:
    """As GPT-2 does (Radford et al. 2019), so that the variance of the residual stream does not grow with depth."""
    for block in blocks:
        outputs = [block.attention.output, block.feed_forward.down]
        if getattr(block, "cross", None) is not None:
            outputs.append(block.cross.output)
        for layer in outputs:
            with torch.no_grad():
                layer.weight.div_(math.sqrt(num_residuals))


def embedding_for(settings: config.Trunk, tokenizers: Mapping[str, Any], num_prefix: int = 0) -> StreamEmbedding:
    """The default embedding of a trunk: one for each stack, by its tokenizer.

    With one tokenizer both streams share its table, if their widths are equal; with two, they are called `source` and
    `target`. `num_prefix` class tokens go before each sequence of patches.
    """
    only = next(iter(tokenizers.values())) if len(tokenizers) == 1 else None
    modules: dict[str, nn.Module] = {}
    for name, stack_settings in settings.stacks.items():
        tokenizer = only if only is not None else tokenizers.get(name)
        if tokenizer is None:
            raise ValueError(f"the stream {name!r} has no tokenizer; the task has: {', '.join(tokenizers) or 'none'}")
        modules[name] = _embed(stack_settings, tokenizer, num_prefix)
        initialise(modules[name])
    if only is not None and len(modules) == 2 and settings.stacks["source"].width == settings.stacks["target"].width:
        _share_table(modules["source"], modules["target"])
    return StreamEmbedding(modules)


def _embed(settings: config.Stack, tokenizer: Any, num_prefix: int) -> nn.Module:
    of, width = settings.embedding, settings.width
    positions = Positions(settings.position, width)
    last_norm = norm(width, settings.norm) if of.norm else None
    if tokenizer.patch_width:
        return PatchEmbedding(tokenizer.patch_width, width, positions, of.bias, num_prefix, last_norm)
    # Sinusoids have unit amplitude; the table is scaled up to stand beside them, as in Vaswani et al. 2017.
    scale = of.scale or (math.sqrt(width) if settings.position.kind == "sinusoidal" else 1.0)
    masked = None
    if of.expected_masked is not None and tokenizer.mask_id is not None:
        masked = Masked(tokenizer.mask_id, of.expected_masked)
    return TokenEmbedding(tokenizer.vocabulary_size, width, positions, scale, of.segments, masked, last_norm)


def _share_table(source: nn.Module, target: nn.Module) -> None:
    if isinstance(source, TokenEmbedding) and isinstance(target, TokenEmbedding):
        target.table.weight = source.table.weight
