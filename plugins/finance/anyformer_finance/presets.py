"""Trunks for patches of series, as functions that return a configuration.

Both have the sizes and the learned positions that PatchTST (Nie et al. 2023) was published with. They are not PatchTST:
there a batch norm stands after each half block, here a layer norm before it, and attention scores are not carried from
block to block.
"""

from __future__ import annotations

from anyformer.nn.config import Attention, FeedForward, Norm, Position, Stack, Trunk

MAX_PATCHES = 512
"""Rows of the table of positions."""


def patch_small() -> Trunk:
    """The sizes of PatchTST for small data (ETTh1, ETTh2): 3 blocks of width 16."""
    return _trunk(width=16, heads=4, inner_width=128, dropout=0.3)


def patch_base() -> Trunk:
    """The sizes of PatchTST for large data (weather, electricity, traffic): 3 blocks of width 128."""
    return _trunk(width=128, heads=16, inner_width=256, dropout=0.2)


def _trunk(width: int, heads: int, inner_width: int, dropout: float) -> Trunk:
    return Trunk(
        encoder=Stack(
            width=width,
            depth=3,
            attention=Attention(heads=heads),
            position=Position(kind="learned", length=MAX_PATCHES),
            feed_forward=FeedForward(width=inner_width),
            norm=Norm(place="pre"),
            dropout=dropout,
        )
    )
