"""Cells of detectors: images of several odd sizes, in one pack of ours, one at a time at home."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn

from anyformer.nn import Model
from anyformer.nn.pack import Parts
from anyformer.task import Rng
from anyformer.testing.parity import Arrays, Cell

LABELS = {0: "N/A", 1: "cat", 2: "N/A", 3: "dog"}
"""As those of the published models: some numbers have no label."""
DETR = (
    {"backbone": "resnet18"},
    {"backbone": "resnet10t", "dilation": True, "encoder_layers": 1, "decoder_layers": 3, "encoder_attention_heads": 5,
     "d_model": 60, "decoder_attention_heads": 1, "num_queries": 5},
    {"backbone": "resnet26", "activation_function": "gelu", "encoder_layers": 3, "decoder_layers": 1, "num_queries": 11,
     "decoder_ffn_dim": 21},
)  # fmt: skip
YOLOS: tuple[dict[str, Any], ...] = (
    {},
    {"use_mid_position_embeddings": False, "hidden_size": 35, "num_attention_heads": 5, "qkv_bias": False,
     "hidden_act": "relu", "layer_norm_eps": 0.3},
    {"patch_size": 4, "image_size": [20, 12], "num_hidden_layers": 3, "num_attention_heads": 1, "num_detection_tokens": 3,
     "hidden_act": "gelu_new"},
    {"image_size": [27, 45], "use_mid_position_embeddings": False},
    {"image_size": [16, 27]},
)  # fmt: skip


def detr(**shape: Any) -> nn.Module:
    """A DETR."""
    small = {"d_model": 36, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 3,
             "decoder_attention_heads": 3, "encoder_ffn_dim": 40, "decoder_ffn_dim": 44, "num_queries": 7}  # fmt: skip
    return transformers.DetrForObjectDetection(transformers.DetrConfig(**{"id2label": LABELS, **small, **shape}))


def yolos(**shape: Any) -> nn.Module:
    """A YOLOS."""
    small = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40,
             "image_size": [24, 40], "patch_size": 8, "num_detection_tokens": 7}  # fmt: skip
    return transformers.YolosForObjectDetection(transformers.YolosConfig(**{"id2label": LABELS, **small, **shape}))


def settle(home: Any) -> None:
    """Queries and positions as large as what they are added to, what all tokens have in common smaller than what they have
    not, and frozen norms that fit the maps: else all queries and all images would be answered alike.
    """
    generator = torch.Generator().manual_seed(1)
    for name, parameter in home.named_parameters():
        if "token" in name or "position_embeddings" in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
        elif parameter.ndim == 4:
            parameter.data.mul_(2**0.5)
        elif parameter.ndim == 1:
            parameter.data.mul_(0.3).add_(0.0 if name.endswith("bias") else 1.0)
    if not hasattr(home.config, "backbone_config"):
        return
    norms = [module for module in home.modules() if hasattr(module, "running_mean")]
    for norm in norms:
        for buffer, start in ((norm.weight, 0.5), (norm.bias, -0.5)):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + start)
    hooks = [norm.register_forward_pre_hook(_moments) for norm in norms]
    with torch.no_grad():
        home.model.backbone.model(torch.randn(1, 3, 160, 192, generator=generator))
    for hook in hooks:
        hook.remove()


def _moments(norm: Any, given: tuple[Tensor]) -> None:
    """Moments of a frozen norm as training would leave them."""
    norm.running_mean.copy_(given[0].mean((0, 2, 3)))
    norm.running_var.copy_(given[0].var((0, 2, 3)) + 0.1)


def images(sizes: Sequence[tuple[int, int]], rng: Rng) -> list[Arrays]:
    """Images of several heights and widths, of unit variance."""
    return [
        {"pixels": rng.normal(size=(height * width, 3)).astype(np.float32), "size": np.array([[height, width]])}
        for height, width in sizes
    ]


def patches(home: Any, rng: Rng) -> list[Arrays]:
    """Images in whole patches: of the grid that the positions are for, and of others."""
    side = home.config.patch_size
    height, width = (length // side * side for length in home.config.image_size)
    return images([(height, width), (side * 5, side * 3), (side, side * 7)], rng)


def answer(home: Any, record: Arrays) -> Tensor:
    """Logits and boxes of the home model, [Q, C + 4]."""
    height, width = record["size"][0]
    pixels = torch.from_numpy(record["pixels"]).view(1, height, width, 3).permute(0, 3, 1, 2)
    found = home(pixel_values=pixels)
    return torch.cat([found.logits[0], found.pred_boxes[0]], dim=-1)


def ours(model: Model, component: str, parts: Parts) -> list[Tensor]:
    """Ours, of each image."""
    both = torch.cat(model[component].head(model.encode(parts, component)), dim=-1)
    return list(both.chunk(parts["size"].pack.num_sequences))


CELLS = [
    Cell("detr", "detection", detr, DETR, lambda home, rng: images([(67, 97), (131, 64), (67, 97)], rng), answer, ours,
         settle=settle),
    Cell("yolos", "detection", yolos, YOLOS, patches, answer, ours, settle=settle),
]  # fmt: skip
