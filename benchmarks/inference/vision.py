"""ViT-B and ViT-S (Dosovitskiy et al. 2020) of timm: 8 images of 224 x 224 to scores of 1,000 classes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anyformer.nn.pack import Pack, Part
from anyformer.plan.flops import forward_flops
from benchmarks.inference.case import Asked, Case, relative
from benchmarks.inference.limits import Phase
from benchmarks.inference.sides import Ours, compiled, lowered, read

NAMES = {"vit-b": "vit_base_patch16_224", "vit-s": "vit_small_patch16_224"}
IMAGES, SIDE, PATCH = 8, 224, 16


def build(asked: Asked) -> Case:
    """The case of a name."""
    import timm

    home: Any = timm.create_model(NAMES[asked.name], pretrained=False).eval()
    torch.nn.init.normal_(home.head.weight, std=0.02)  # a new one is zero
    pixels = torch.randn(IMAGES, 3, SIDE, SIDE)
    theirs = {"timm": partial(scores, home, pixels)}
    low = lowered(home, asked.precision)
    if low is not None and low is not home:
        narrow = pixels.bfloat16() if asked.precision == "bf16" else pixels
        theirs[f"timm, {asked.precision}"] = partial(scores, low, narrow)
        if asked.precision == "bf16" and not asked.quick:
            theirs["timm, bf16, compiled and frozen"] = partial(scores, compiled(low), narrow)
    elif not asked.quick:
        innermost = pixels.to(memory_format=torch.channels_last)
        theirs["timm, channels last"] = partial(scores, home, innermost)
    ours = read(home, asked.precision, save)
    num_tokens = (SIDE // PATCH) ** 2 + 1
    return Case(
        "from pixels to scores of classes", "images/s", IMAGES, lambda: classified(ours, pixels), theirs,
        [Phase(IMAGES * forward_flops(ours.trunk, {"source": num_tokens}))], relative,
    )  # fmt: skip


def save(home: Any, folder: Path) -> None:
    """As timm saves a model for the hub."""
    from timm.models._hub import save_for_hf

    save_for_hf(home, str(folder), safe_serialization=True)


def scores(home: Any, pixels: Tensor) -> list[Tensor]:
    """Those of the home library."""
    with torch.no_grad():
        return list(home(pixels))


def classified(ours: Ours, pixels: Tensor) -> list[Tensor]:
    """Ours; cutting images into patches, which a pipeline does as it reads them, is in the time."""
    number, grid = len(pixels), SIDE // PATCH
    with torch.inference_mode():
        cut = pixels.view(number, 3, grid, PATCH, grid, PATCH).permute(0, 2, 4, 3, 5, 1)
        part = Part(cut.reshape(number * grid * grid, PATCH * PATCH * 3), Pack.of([grid * grid] * number, None))
        found = ours.model[ours.component].head(ours.model.encode({"source": part}, ours.component))
    return list(found)
