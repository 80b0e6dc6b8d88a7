"""Llama: decoders with rotary positions, RMS norms before each half block, SwiGLU and no biases.

* Llama: Touvron et al. 2023, https://arxiv.org/abs/2302.13971. Its 7B and 13B have the sizes of Llama 2's.
* Llama 2: Touvron et al. 2023, https://arxiv.org/abs/2307.09288. Its 70B groups the heads by eight to a key.
* Llama 3: Grattafiori et al. 2024, https://arxiv.org/abs/2407.21783. 405B is of version 3.1; it and 3.2 stretch the slow
  rotary wavelengths. The small ones of 3.2 score words by the vectors that stand for them in the input.
"""

from __future__ import annotations

from anyformer.nn.config import Attention, BandScaling, FeedForward, Norm, Position, Stack
from anyformer.preset import Preset
from anyformer_nlp.presets.whole import language_model

LONG = 131_072
"""Tokens that Llama 3.1 and 3.2 read."""


def llama_65b() -> Preset:
    """Llama 65B (Touvron et al. 2023): 80 blocks of width 8,192, 64 heads."""
    return _llama2(width=8192, depth=80, heads=64, inner_width=22016, context=2048)


def llama2_7b() -> Preset:
    """Llama 2 7B (Touvron et al. 2023): 32 blocks of width 4,096, 32 heads."""
    return _llama2(width=4096, depth=32, heads=32, inner_width=11008)


def llama2_13b() -> Preset:
    """Llama 2 13B (Touvron et al. 2023): 40 blocks of width 5,120, 40 heads."""
    return _llama2(width=5120, depth=40, heads=40, inner_width=13824)


def llama2_70b() -> Preset:
    """Llama 2 70B (Touvron et al. 2023): 80 blocks of width 8,192, 64 heads on 8 keys."""
    return _llama2(width=8192, depth=80, heads=64, inner_width=28672, keys=8)


def llama3_8b() -> Preset:
    """Llama 3 8B (Grattafiori et al. 2024): 32 blocks of width 4,096, 32 heads on 8 keys."""
    return _llama3(width=4096, depth=32, heads=32, inner_width=14336)


def llama3_70b() -> Preset:
    """Llama 3 70B (Grattafiori et al. 2024): 80 blocks of width 8,192, 64 heads on 8 keys."""
    return _llama3(width=8192, depth=80, heads=64, inner_width=28672)


def llama3_405b() -> Preset:
    """Llama 3.1 405B (Grattafiori et al. 2024): 126 blocks of width 16,384, 128 heads on 8 keys."""
    return _llama3(width=16384, depth=126, heads=128, inner_width=53248, context=LONG, stretch=8)


def llama3_2_1b() -> Preset:
    """Llama 3.2 1B (Meta 2024): 16 blocks of width 2,048, 32 heads on 8 keys."""
    return _llama3(width=2048, depth=16, heads=32, inner_width=8192, context=LONG, stretch=32, tied=True)


def llama3_2_3b() -> Preset:
    """Llama 3.2 3B (Meta 2024): 28 blocks of width 3,072, 24 heads on 8 keys."""
    return _llama3(width=3072, depth=28, heads=24, inner_width=8192, context=LONG, stretch=32, tied=True)


def _llama2(
    width: int, depth: int, heads: int, inner_width: int, keys: int | None = None, context: int = 4096
) -> Preset:
    stack = _stack(width, depth, Attention(heads=heads, key_value_heads=keys), inner_width, Position(kind="rotary"))
    return language_model(stack, 32_000, context, tied=False)


def _llama3(
    width: int, depth: int, heads: int, inner_width: int, context: int = 8192, stretch: int | None = None,
    tied: bool = False,
) -> Preset:  # fmt: skip
    scaling = None if stretch is None else BandScaling(factor=stretch, original_length=8192)
    position = Position(kind="rotary", base=500_000, scaling=scaling)
    stack = _stack(width, depth, Attention(heads=heads, key_value_heads=8), inner_width, position)
    return language_model(stack, 128_256, context, tied)


def _stack(width: int, depth: int, attention: Attention, inner_width: int, position: Position) -> Stack:
    return Stack(
        width=width,
        depth=depth,
        causal=True,
        attention=attention.model_copy(update={"bias": False, "output_bias": False}),
        position=position,
        feed_forward=FeedForward(width=inner_width, activation="silu", gated=True, bias=False),
        norm=Norm(kind="rms", place="pre"),
    )


PRESETS = {
    "llama-65b": llama_65b,
    "llama2-7b": llama2_7b, "llama2-13b": llama2_13b, "llama2-70b": llama2_70b,
    "llama3-8b": llama3_8b, "llama3-70b": llama3_70b, "llama3-405b": llama3_405b,
    "llama3.2-1b": llama3_2_1b, "llama3.2-3b": llama3_2_3b,
}  # fmt: skip
