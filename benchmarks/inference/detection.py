"""DETR-R50 (Carion et al. 2020) on an image of 640 x 640, and YOLOS-tiny (Fang et al. 2021) on one of 512 x 512."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from anyformer.data.packs import collate
from anyformer.task import Sample
from benchmarks.inference.case import Asked, Case, relative
from benchmarks.inference.limits import Phase
from benchmarks.inference.sides import Ours, compiled, lowered, read

SIDES = {"detr": 640, "yolos": 512}
LABELS = {index: f"class {index}" for index in range(91)}


def build(asked: Asked) -> Case:
    """The case of a name."""
    home = detr() if asked.name == "detr" else yolos()
    side = SIDES[asked.name]
    pixels = np.random.default_rng(0).normal(size=(side, side, 3)).astype(np.float32)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()
    theirs: dict[str, Callable[[], list[Tensor]]] = {"transformers": partial(found, home, image)}
    low = lowered(home, asked.precision)
    narrow = image.bfloat16() if asked.precision == "bf16" else image
    if low is not None and low is not home:
        theirs[f"transformers, {asked.precision}"] = partial(found, low, narrow)
    if low is not None and asked.precision != "int8" and not asked.quick:
        theirs[f"transformers, {asked.precision}, compiled and frozen"] = partial(found, compiled(low), narrow)
    ours = read(home, asked.precision)
    sample = Sample({"pixels": pixels.reshape(-1, 3), "size": np.array([[side, side]])})
    with FlopCounterMode(display=False) as counter:
        found(home, image)
    return Case(
        "from an image's pixels to scores and boxes", "images/s", 1, lambda: detected(ours, sample), theirs,
        [Phase(counter.get_total_flops())], relative,
    )  # fmt: skip


def detr() -> nn.Module:
    """A new one; norms that begin at zero, at which a residual branch would be idle, are given a weight."""
    from transformers import DetrConfig, DetrForObjectDetection

    home = DetrForObjectDetection(DetrConfig(id2label=LABELS)).eval()
    for name, buffer in home.named_buffers():
        if name.endswith("weight") and not buffer.any():
            buffer.fill_(0.5)
    return home


def yolos() -> nn.Module:
    """A new one."""
    from transformers import YolosConfig, YolosForObjectDetection

    return YolosForObjectDetection(YolosConfig(
        hidden_size=192, num_hidden_layers=12, num_attention_heads=3, intermediate_size=768, image_size=[800, 1328],
        use_mid_position_embeddings=False, id2label=LABELS,
    )).eval()  # fmt: skip


def found(home: Any, image: Tensor) -> list[Tensor]:
    """Scores and boxes of the home library."""
    with torch.no_grad():
        answer = home(pixel_values=image)
    return [answer.logits[0], answer.pred_boxes[0]]


def detected(ours: Ours, sample: Sample) -> list[Tensor]:
    """Ours."""
    parts, _ = collate([sample])
    with torch.inference_mode():
        return list(ours.model[ours.component].head(ours.model.encode(parts, ours.component)))
