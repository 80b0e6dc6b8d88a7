"""PatchTST (Nie et al. 2023, https://arxiv.org/abs/2211.14730) as published for ETTh1, and two trunks of its sizes.

* `patchtst-42-*` reads 336 hours in 42 patches, `patchtst-64-*` 512 in 64; the last number is the horizon.
* The published model forecasts one value a step, by its squared error; the presets have one quantile, the median. It
  carries attention scores from block to block, and has a scale in each block that it does not learn; neither is here, and
  neither is among the parameters.
* `patch-small` and `patch-base` are trunks with a layer norm before each half block, which learns well from little data;
  PatchTST has a batch norm after it.
"""

from __future__ import annotations

from collections.abc import Callable

from anyformer.nn.config import Attention, FeedForward, Norm, Position, Stack, Trunk
from anyformer.preset import Preset

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


def patchtst_42_96() -> Preset:
    """PatchTST/42 for ETTh1 (Nie et al. 2023): the next 96 hours from the last 336."""
    return _patchtst(look_back=336, horizon=96)


def patchtst_42_192() -> Preset:
    """PatchTST/42 for ETTh1 (Nie et al. 2023): the next 192 hours from the last 336."""
    return _patchtst(look_back=336, horizon=192)


def patchtst_42_336() -> Preset:
    """PatchTST/42 for ETTh1 (Nie et al. 2023): the next 336 hours from the last 336."""
    return _patchtst(look_back=336, horizon=336)


def patchtst_42_720() -> Preset:
    """PatchTST/42 for ETTh1 (Nie et al. 2023): the next 720 hours from the last 336."""
    return _patchtst(look_back=336, horizon=720)


def patchtst_64_96() -> Preset:
    """PatchTST/64 for ETTh1 (Nie et al. 2023): the next 96 hours from the last 512."""
    return _patchtst(look_back=512, horizon=96)


def patchtst_64_192() -> Preset:
    """PatchTST/64 for ETTh1 (Nie et al. 2023): the next 192 hours from the last 512."""
    return _patchtst(look_back=512, horizon=192)


def patchtst_64_336() -> Preset:
    """PatchTST/64 for ETTh1 (Nie et al. 2023): the next 336 hours from the last 512."""
    return _patchtst(look_back=512, horizon=336)


def patchtst_64_720() -> Preset:
    """PatchTST/64 for ETTh1 (Nie et al. 2023): the next 720 hours from the last 512."""
    return _patchtst(look_back=512, horizon=720)


def _patchtst(look_back: int, horizon: int) -> Preset:
    encoder = Stack(
        width=16,
        depth=3,
        attention=Attention(heads=4),
        position=Position(kind="learned", length=look_back // 8),
        feed_forward=FeedForward(width=128, dropout=0.3),
        norm=Norm(kind="batch", place="post"),
        dropout=0.3,
    )
    return Preset(
        trunk=Trunk(encoder=encoder),
        task="finance/forecast",
        config={"look_back": look_back, "horizon": horizon, "quantiles": (0.5,)},
        tokenizer="finance/patches",
        tokenizer_config={"length": 16, "stride": 8},
    )


PRESETS: dict[str, Callable[[], Preset | Trunk]] = {
    "patch-small": patch_small,
    "patch-base": patch_base,
    "patchtst-42-96": patchtst_42_96,
    "patchtst-42-192": patchtst_42_192,
    "patchtst-42-336": patchtst_42_336,
    "patchtst-42-720": patchtst_42_720,
    "patchtst-64-96": patchtst_64_96,
    "patchtst-64-192": patchtst_64_192,
    "patchtst-64-336": patchtst_64_336,
    "patchtst-64-720": patchtst_64_720,
}
