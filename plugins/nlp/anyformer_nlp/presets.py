"""Trunks of published models, as functions that return a configuration."""

from __future__ import annotations

from anyformer.nn.config import Attention, FeedForward, Norm, Position, Stack, Trunk


def gpt2_124m() -> Trunk:
    """The decoder of GPT-2 small (Radford et al. 2019): 124,439,808 parameters with its 50,257 tokens, tied."""
    return Trunk(
        decoder=Stack(
            width=768,
            depth=12,
            causal=True,
            attention=Attention(heads=12, dropout=0.1),
            position=Position(kind="learned", length=1024),
            feed_forward=FeedForward(activation="gelu_tanh"),
            norm=Norm(place="pre"),
            dropout=0.1,
        )
    )


def bert_base() -> Trunk:
    """The encoder of BERT base (Devlin et al. 2019): 12 blocks of width 768, norm after each half block."""
    return Trunk(
        encoder=Stack(
            width=768,
            depth=12,
            attention=Attention(heads=12, dropout=0.1),
            position=Position(kind="learned", length=512),
            norm=Norm(place="post", epsilon=1e-12),
            dropout=0.1,
        )
    )
