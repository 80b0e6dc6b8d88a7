"""T5 (Raffel et al. 2020, https://arxiv.org/abs/1910.10683): relative positions, RMS norms, no biases, unscaled attention.

* The first version has ReLU, and scores words by the vectors that stand for them in the input, divided by the root of the
  width. Version 1.1, which Flan-T5 was tuned from, has a gated GELU (Shazeer 2020, https://arxiv.org/abs/2002.05202) and
  scores by a table of its own.
* In 3B, 11B and v1.1 small the heads together are wider than the model, or narrower.
"""

from __future__ import annotations

from anyformer.nn.config import Attention, FeedForward, Norm, Position, Stack
from anyformer.preset import Preset
from anyformer_nlp.presets.whole import sequence_to_sequence

NUM_TOKENS = 32_128
CONTEXT = 512


def t5_small() -> Preset:
    """T5 small (Raffel et al. 2020): 6 + 6 blocks of width 512, 8 heads."""
    return _t5(width=512, depth=6, heads=8, inner_width=2048)


def t5_base() -> Preset:
    """T5 base (Raffel et al. 2020): 12 + 12 blocks of width 768, 12 heads."""
    return _t5(width=768, depth=12, heads=12, inner_width=3072)


def t5_large() -> Preset:
    """T5 large (Raffel et al. 2020): 24 + 24 blocks of width 1,024, 16 heads."""
    return _t5(width=1024, depth=24, heads=16, inner_width=4096)


def t5_3b() -> Preset:
    """T5 3B (Raffel et al. 2020): 24 + 24 blocks of width 1,024, 32 heads of width 128."""
    return _t5(width=1024, depth=24, heads=32, inner_width=16384, head_width=128)


def t5_11b() -> Preset:
    """T5 11B (Raffel et al. 2020): 24 + 24 blocks of width 1,024, 128 heads of width 128."""
    return _t5(width=1024, depth=24, heads=128, inner_width=65536, head_width=128)


def t5_v1_1_small() -> Preset:
    """T5 v1.1 small (Raffel et al. 2020): 8 + 8 blocks of width 512, 6 heads."""
    return _t5_v1_1(width=512, depth=8, heads=6, inner_width=1024)


def t5_v1_1_base() -> Preset:
    """T5 v1.1 base (Raffel et al. 2020): 12 + 12 blocks of width 768, 12 heads."""
    return _t5_v1_1(width=768, depth=12, heads=12, inner_width=2048)


def t5_v1_1_large() -> Preset:
    """T5 v1.1 large (Raffel et al. 2020): 24 + 24 blocks of width 1,024, 16 heads."""
    return _t5_v1_1(width=1024, depth=24, heads=16, inner_width=2816)


def t5_v1_1_xl() -> Preset:
    """T5 v1.1 XL (Raffel et al. 2020): 24 + 24 blocks of width 2,048, 32 heads."""
    return _t5_v1_1(width=2048, depth=24, heads=32, inner_width=5120)


def t5_v1_1_xxl() -> Preset:
    """T5 v1.1 XXL (Raffel et al. 2020): 24 + 24 blocks of width 4,096, 64 heads."""
    return _t5_v1_1(width=4096, depth=24, heads=64, inner_width=10240)


def _t5(width: int, depth: int, heads: int, inner_width: int, head_width: int = 64) -> Preset:
    feed_forward = FeedForward(width=inner_width, activation="relu", bias=False)
    stack = _stack(width, depth, heads, head_width, feed_forward)
    return sequence_to_sequence(stack, NUM_TOKENS, context=CONTEXT, scale=width**-0.5)


def _t5_v1_1(width: int, depth: int, heads: int, inner_width: int) -> Preset:
    feed_forward = FeedForward(width=inner_width, activation="gelu_tanh", gated=True, bias=False)
    stack = _stack(width, depth, heads, 64, feed_forward)
    return sequence_to_sequence(stack, NUM_TOKENS, context=CONTEXT, tied=False)


def _stack(width: int, depth: int, heads: int, head_width: int, feed_forward: FeedForward) -> Stack:
    return Stack(
        width=width,
        depth=depth,
        attention=Attention(heads=heads, head_width=head_width, bias=False, output_bias=False, scale=1, dropout=0.1),
        position=Position(kind="relative", buckets=32, furthest=128),
        feed_forward=feed_forward.model_copy(update={"dropout": 0.1}),
        norm=Norm(kind="rms", place="pre", epsilon=1e-6),
        dropout=0.1,
    )


PRESETS = {
    "t5-small": t5_small, "t5-base": t5_base, "t5-large": t5_large, "t5-3b": t5_3b, "t5-11b": t5_11b,
    "t5-v1.1-small": t5_v1_1_small, "t5-v1.1-base": t5_v1_1_base, "t5-v1.1-large": t5_v1_1_large,
    "t5-v1.1-xl": t5_v1_1_xl, "t5-v1.1-xxl": t5_v1_1_xxl,
}  # fmt: skip
