"""The Transformer (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762): sinusoids, norms after each half block, ReLU.

* One table of 37,000 tokens serves both languages and the output. Attention has no biases.
* The paper says 65 and 213 million parameters. They depend on the vocabulary's exact size, which it does not give.
"""

from __future__ import annotations

from anyformer.nn.config import Attention, FeedForward, Norm, Position, Stack
from anyformer.preset import Preset
from anyformer_nlp.presets.whole import sequence_to_sequence

NUM_TOKENS = 37_000


def transformer_base() -> Preset:
    """The base Transformer (Vaswani et al. 2017): 6 + 6 blocks of width 512, 8 heads."""
    return sequence_to_sequence(_stack(width=512, depth=6, heads=8, dropout=0.1), NUM_TOKENS)


def transformer_big() -> Preset:
    """The big Transformer (Vaswani et al. 2017): 6 + 6 blocks of width 1,024, 16 heads."""
    return sequence_to_sequence(_stack(width=1024, depth=6, heads=16, dropout=0.3), NUM_TOKENS)


def transformer_tiny() -> Preset:
    """A Transformer for small corpora (Wu et al. 2021, Revisit-MMT): 4 + 4 blocks of width 128, 4 heads, with biases.

    Its vocabulary is that of Multi30k, 9,712 tokens for both languages.
    """
    stack = _stack(width=128, depth=4, heads=4, dropout=0.3, inner_width=256, bias=True)
    return sequence_to_sequence(stack, 9_712)


def _stack(
    width: int, depth: int, heads: int, dropout: float, inner_width: int | None = None, bias: bool = False
) -> Stack:
    return Stack(
        width=width,
        depth=depth,
        attention=Attention(heads=heads, bias=bias, output_bias=bias),
        position=Position(kind="sinusoidal"),
        feed_forward=FeedForward(width=inner_width, activation="relu"),
        norm=Norm(place="post"),
        dropout=dropout,
    )


PRESETS = {
    "transformer-base": transformer_base,
    "transformer-big": transformer_big,
    "transformer-tiny": transformer_tiny,
}
