"""Trunks of published vision transformers. Positions and patches belong to the embedding, the classes to the head.

The published models read a class token beside the patches; here the head averages over the patches, so a table of
positions has one row less. The blocks and the final norm are the published ones, weight for weight.
"""

from __future__ import annotations

from anyformer.nn.config import Attention, Norm, Position, Stack, Trunk

NUM_PATCHES = 196
"""Of an image of 224 x 224 pixels, in patches of 16 x 16."""


def vit_b16() -> Trunk:
    """ViT-B/16 at 224 pixels (Dosovitskiy et al. 2020)."""
    return _trunk(width=768, heads=12)


def vit_s16() -> Trunk:
    """ViT-S/16 at 224 pixels (Touvron et al. 2020, as DeiT-S)."""
    return _trunk(width=384, heads=6)


def deit_ti16() -> Trunk:
    """DeiT-Ti/16 at 224 pixels (Touvron et al. 2020)."""
    return _trunk(width=192, heads=3)


def _trunk(width: int, heads: int) -> Trunk:
    return Trunk(
        encoder=Stack(
            width=width,
            depth=12,
            attention=Attention(heads=heads),
            position=Position(kind="learned", length=NUM_PATCHES),
            norm=Norm(epsilon=1e-6),
        )
    )
