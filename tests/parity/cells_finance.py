"""Cells of models of series."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor, nn

from anyformer.task import Rng
from anyformer.testing.parity import Arrays, Cell


def patches(home: Any, rng: Rng) -> list[Arrays]:
    """The patches of five series."""
    config, num_patches = home.config, home.model.patchifier.num_patches
    return [{"source": rng.standard_normal((num_patches, config.patch_length))} for _ in range(5)]


def forecast(home: Any, record: Arrays) -> Tensor:
    """The forecast on the scale of the patches, [H, 1]: all channels get the same series, the last is read."""
    channels = torch.from_numpy(record["source"]).expand(1, home.config.num_input_channels, -1, -1)
    return home.head(home.model.encoder(channels).last_hidden_state)[0, :, -1:]


def home(**shape: Any) -> nn.Module:
    """A new model."""
    return transformers.PatchTSTForPrediction(transformers.PatchTSTConfig(**shape))


SMALL = {
    "num_input_channels": 2, "context_length": 33, "patch_length": 7, "patch_stride": 4, "d_model": 24, "ffn_dim": 40,
    "num_hidden_layers": 2, "num_attention_heads": 3, "prediction_length": 5, "pooling_type": None,
}  # fmt: skip
SHAPES = (
    SMALL,
    SMALL | {"norm_type": "layernorm", "pre_norm": False, "norm_eps": 0.3, "num_attention_heads": 1, "bias": False,
             "num_input_channels": 1, "positional_encoding_type": "random", "activation_function": "relu"},
    SMALL | {"d_model": 36, "num_attention_heads": 9, "pre_norm": False, "norm_eps": 0.3, "num_hidden_layers": 3,
             "num_input_channels": 7, "patch_stride": 7, "pooling_type": "mean"},
    SMALL | {"norm_type": "layernorm", "context_length": 8, "patch_stride": 1, "pooling_type": "max", "do_mask_input": True},
)  # fmt: skip
CELLS = [Cell("patchtst", "forecast", home, SHAPES, patches, forecast)]
