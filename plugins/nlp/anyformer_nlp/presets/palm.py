"""PaLM (Chowdhery et al. 2022, https://arxiv.org/abs/2204.02311): parallel blocks, multi-query attention, SwiGLU, no biases.

* Heads are 256 wide whatever the model's width, and all share one key and value.
* The published table of tokens begins with deviation 1 where it is read, and is divided by the root of the width where it
  scores. Here it begins with that root taken off, and is multiplied by it where it is read: the same model.
"""

from __future__ import annotations

import math

from anyformer.nn.config import Attention, Embedding, FeedForward, Norm, Position, Stack
from anyformer.preset import Preset
from anyformer_nlp.presets.whole import language_model

NUM_TOKENS = 256_000
CONTEXT = 2048


def palm_8b() -> Preset:
    """PaLM 8B (Chowdhery et al. 2022): 32 blocks of width 4,096, 16 heads."""
    return _palm(width=4096, depth=32, heads=16)


def palm_62b() -> Preset:
    """PaLM 62B (Chowdhery et al. 2022): 64 blocks of width 8,192, 32 heads."""
    return _palm(width=8192, depth=64, heads=32)


def palm_540b() -> Preset:
    """PaLM 540B (Chowdhery et al. 2022): 118 blocks of width 18,432, 48 heads."""
    return _palm(width=18432, depth=118, heads=48)


def _palm(width: int, depth: int, heads: int) -> Preset:
    stack = Stack(
        width=width,
        depth=depth,
        causal=True,
        parallel=True,
        attention=Attention(heads=heads, key_value_heads=1, head_width=256, bias=False, output_bias=False),
        embedding=Embedding(scale=math.sqrt(width)),
        position=Position(kind="rotary"),
        feed_forward=FeedForward(width=4 * width, activation="silu", gated=True, bias=False),
        norm=Norm(place="pre", bias=False),
    )
    return language_model(stack, NUM_TOKENS, CONTEXT)


PRESETS = {"palm-8b": palm_8b, "palm-62b": palm_62b, "palm-540b": palm_540b}
