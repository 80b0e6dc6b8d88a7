"""Cells of image models."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn

from anyformer.task import Rng
from anyformer.testing.parity import Arrays, Cell

NUM_IMAGES = 6
SMALL = {"hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 40, "num_labels": 5,
         "image_size": (35, 20), "patch_size": 5}  # fmt: skip
VIT = (
    SMALL,
    SMALL
    | {"hidden_size": 35, "num_attention_heads": 5, "hidden_act": "relu", "layer_norm_eps": 0.3, "qkv_bias": False},
    SMALL | {"image_size": 21, "patch_size": 3, "num_channels": 1, "hidden_act": "gelu_new", "num_attention_heads": 1},
    SMALL | {"head_dim": 6, "num_hidden_layers": 5, "image_size": (6, 18), "patch_size": 6},
)
SQUARE = {name: value for name, value in SMALL.items() if name != "intermediate_size"} | {"image_size": 35}
DINOV2 = (
    SQUARE,
    SQUARE | {"layer_norm_eps": 0.3, "qkv_bias": False, "hidden_act": "relu", "mlp_ratio": 2, "use_mask_token": False},
    SQUARE | {"use_swiglu_ffn": True, "hidden_size": 35, "num_attention_heads": 7, "image_size": 15},
    SQUARE | {"use_swiglu_ffn": True, "mlp_ratio": 3, "num_channels": 1},
)
TIMM = (
    {"img_size": (35, 20), "patch_size": 5, "embed_dim": 24, "depth": 4, "num_heads": 3, "num_classes": 5},
    {"img_size": 21, "patch_size": 3, "embed_dim": 35, "depth": 4, "num_heads": 5, "num_classes": 7, "mlp_ratio": 1.7,
     "qkv_bias": False, "in_chans": 1},
    {"img_size": (6, 18), "patch_size": 6, "embed_dim": 24, "depth": 5, "num_heads": 1, "num_classes": 3,
     "act_layer": "relu"},
)  # fmt: skip


def images(home: Any, rng: Rng) -> list[Arrays]:
    """Patches of a few images of the size that the model reads, of unit variance."""
    if hasattr(home, "patch_embed"):
        (height, width), (side, _), channels = home.patch_embed.img_size, home.patch_embed.patch_size, home.in_chans
    else:
        config = home.config
        size, side, channels = config.image_size, config.patch_size, config.num_channels
        height, width = (size, size) if isinstance(size, int) else size
    shape = (height // side) * (width // side), side * side * channels
    return [{"source": rng.normal(size=shape).astype(np.float32)} for _ in range(NUM_IMAGES)]


def pixels(home: Any, record: Arrays) -> Tensor:
    """A record as an image, a batch of one [1, C, H, W]."""
    if hasattr(home, "patch_embed"):
        size, (side, _), channels = home.patch_embed.img_size, home.patch_embed.patch_size, home.in_chans
    else:
        size, side, channels = home.config.image_size, home.config.patch_size, home.config.num_channels
    height, width = (size, size) if isinstance(size, int) else size
    grid = torch.from_numpy(record["source"]).view(height // side, width // side, side, side, channels)
    return grid.permute(4, 0, 2, 1, 3).reshape(1, channels, height, width)


def logits(home: Any, record: Arrays) -> Tensor:
    """What the home model's head says."""
    return home(pixels(home, record)).logits[0]


def hidden(home: Any, record: Arrays) -> Tensor:
    """The last hidden state of a bare model."""
    return home(pixels(home, record)).last_hidden_state[0]


def trunk_output(model: Any, component: str, parts: Any) -> list[Tensor]:
    """Our trunk's output by record."""
    stream = model.encode(parts, component)["source"]
    return stream.pack.split(stream.x_TD)


def pooled(home: Any, record: Arrays) -> Tensor:
    """The vector that a bare model answers."""
    return home(pixels(home, record)).pooler_output[0]


def vectors(model: Any, component: str, parts: Any) -> list[Tensor]:
    """Ours by record."""
    found, _ = model[component].head(model.encode(parts, component))
    return list(found)


def of_transformers(family: str, head: str, kind: Any, shapes: Any, theirs: Any, **more: Any) -> Cell:
    """A cell of a model of transformers."""
    return Cell(family, head, lambda **shape: kind(kind.config_class(**shape)), shapes, images, theirs, **more)


def of_timm(family: str, head: str, name: str, shapes: Any, theirs: Any, **more: Any) -> Cell:
    """A cell of a model of timm."""
    import timm

    return Cell(
        family, head, partial(timm.create_model, name, pretrained=False), shapes, images, theirs, load=load_timm,
        save=save_timm, **more,
    )  # fmt: skip


def save_timm(home: Any, folder: Path) -> None:
    """As timm saves a model for the hub."""
    from timm.models._hub import save_for_hf

    folder.mkdir(parents=True, exist_ok=True)
    save_for_hf(home, str(folder), safe_serialization=True)


def load_timm(home: Any, folder: Path) -> nn.Module:
    """As timm loads it."""
    import timm

    return timm.create_model(f"local-dir:{folder}", pretrained=True)


def timm_logits(home: Any, record: Arrays) -> Tensor:
    """What the home model says."""
    return home(pixels(home, record))[0]


def timm_hidden(home: Any, record: Arrays) -> Tensor:
    """What the blocks and the norm after them give."""
    return home.forward_features(pixels(home, record))[0]


def bare(shapes: Any) -> list[dict[str, Any]]:
    """The shapes without a head."""
    return [shape | {"num_classes": 0} for shape in shapes]


SCALED = [shape | {"init_values": 0.1} for shape in TIMM]
CLASSIFICATION, ENCODER, VECTOR = "image classification", "encoder", "image embedding"
CELLS = [
    of_transformers("vit", CLASSIFICATION, transformers.ViTForImageClassification, VIT, logits),
    of_transformers("vit", ENCODER, transformers.ViTModel, VIT, hidden, ours=trunk_output),
    of_transformers("deit", CLASSIFICATION, transformers.DeiTForImageClassification, VIT, logits),
    of_transformers("deit", "with teacher", transformers.DeiTForImageClassificationWithTeacher, VIT, logits),
    of_transformers("deit", ENCODER, transformers.DeiTModel, VIT, hidden, ours=trunk_output),
    of_transformers("dinov2", CLASSIFICATION, transformers.Dinov2ForImageClassification, DINOV2, logits),
    of_transformers("dinov2", ENCODER, transformers.Dinov2Model, DINOV2, hidden, ours=trunk_output),
    of_transformers("dinov2", VECTOR, transformers.Dinov2Model, DINOV2, pooled, ours=vectors),
    of_timm("timm-vit", CLASSIFICATION, "vit_small_patch16_224", [*TIMM, *SCALED], timm_logits),
    of_timm(
        "timm-vit-bare", ENCODER, "vit_small_patch16_224", bare([*TIMM, SCALED[0]]), timm_hidden, ours=trunk_output
    ),
    of_timm("timm-vit-bare", VECTOR, "vit_small_patch16_224", bare(TIMM), timm_logits, ours=vectors),
    of_timm("timm-deit-distilled", CLASSIFICATION, "deit_tiny_distilled_patch16_224", TIMM, timm_logits),
    of_timm(
        "timm-deit-distilled-bare",
        ENCODER,
        "deit_tiny_distilled_patch16_224",
        bare(TIMM),
        timm_hidden,
        ours=trunk_output,
    ),
]
