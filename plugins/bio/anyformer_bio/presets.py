"""ESM-2 (Lin et al. 2023, https://www.science.org/doi/10.1126/science.ade2574) in its six sizes.

* Rotary positions, norms before each half block, GELU; mask tokens are zeros, and the others scaled to make up for them.
* A preset is the published model with both of its heads: hidden residues, and contacts by a regression on attention maps.
* The `transformers` port has a table of 1,026 positions more, which nothing reads.
"""

from __future__ import annotations

from anyformer.nn.config import Attention, Embedding, Norm, Position, Stack, Trunk
from anyformer.preset import Preset

EXPECTED_MASKED = 0.15 * 0.8
"""Share of tokens that were masks in pretraining: 80 % of the 15 % that were to be found."""


def esm2_8m() -> Preset:
    """ESM-2 8M (Lin et al. 2023): 6 blocks of width 320, 20 heads."""
    return _esm2(width=320, depth=6, heads=20)


def esm2_35m() -> Preset:
    """ESM-2 35M (Lin et al. 2023): 12 blocks of width 480, 20 heads."""
    return _esm2(width=480, depth=12, heads=20)


def esm2_150m() -> Preset:
    """ESM-2 150M (Lin et al. 2023): 30 blocks of width 640, 20 heads."""
    return _esm2(width=640, depth=30, heads=20)


def esm2_650m() -> Preset:
    """ESM-2 650M (Lin et al. 2023): 33 blocks of width 1,280, 20 heads."""
    return _esm2(width=1280, depth=33, heads=20)


def esm2_3b() -> Preset:
    """ESM-2 3B (Lin et al. 2023): 36 blocks of width 2,560, 40 heads."""
    return _esm2(width=2560, depth=36, heads=40)


def esm2_15b() -> Preset:
    """ESM-2 15B (Lin et al. 2023): 48 blocks of width 5,120, 40 heads."""
    return _esm2(width=5120, depth=48, heads=40)


def _esm2(width: int, depth: int, heads: int) -> Preset:
    encoder = Stack(
        width=width,
        depth=depth,
        attention=Attention(heads=heads),
        embedding=Embedding(expected_masked=EXPECTED_MASKED),
        position=Position(kind="rotary"),
        norm=Norm(kind="layer", place="pre"),
    )
    return Preset(
        trunk=Trunk(encoder=encoder),
        task="bio/fill-mask",
        also={"bio/contact-map": {"pair_width": 0}},
        tokenizer="bio/esm",
    )


PRESETS = {
    "esm2-8m": esm2_8m,
    "esm2-35m": esm2_35m,
    "esm2-150m": esm2_150m,
    "esm2-650m": esm2_650m,
    "esm2-3b": esm2_3b,
    "esm2-15b": esm2_15b,
}
