"""Trunks of published detectors. Backbones, patches and positions belong to the embedding, classes and boxes to the head."""

from __future__ import annotations

from anyformer.nn.config import Attention, FeedForward, Norm, Position, Stack, Trunk


def detr() -> Trunk:
    """DETR, whatever its residual network (Carion et al. 2020, https://arxiv.org/abs/2005.12872)."""
    encoder = Stack(
        width=256,
        depth=6,
        attention=Attention(heads=8),
        position=Position(kind="none"),
        feed_forward=FeedForward(width=2048, activation="relu"),
        norm=Norm(place="post"),
        dropout=0.1,
    )
    decoder = encoder.model_copy(update={"cross": True, "norm": Norm(place="post", final=True)})
    return Trunk(encoder=encoder, decoder=decoder)


def yolos_ti() -> Trunk:
    """YOLOS-Ti (Fang et al. 2021, https://arxiv.org/abs/2106.00666); its task's `config.between` is false."""
    return _yolos(width=192, heads=3)


def yolos_s() -> Trunk:
    """YOLOS-S; its task's `config.between` is true."""
    return _yolos(width=384, heads=6)


def yolos_b() -> Trunk:
    """YOLOS-B; its task's `config.between` is true."""
    return _yolos(width=768, heads=12)


def _yolos(width: int, heads: int) -> Trunk:
    return Trunk(
        encoder=Stack(
            width=width,
            depth=12,
            attention=Attention(heads=heads),
            position=Position(kind="none"),
            norm=Norm(epsilon=1e-12),
        )
    )
