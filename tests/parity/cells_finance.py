"""Cells of models of series."""

from __future__ import annotations

from typing import Any

import cells_seq2seq
import numpy as np
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


def chronos(bins: dict[str, Any], untied: bool = False, **shape: Any) -> nn.Module:
    """A new T5 over value bins, with changes to what the published models say of theirs."""
    said = {
        "tokenizer_class": "MeanScaleUniformBins", "tokenizer_kwargs": {"low_limit": -15.0, "high_limit": 15.0},
        "context_length": 40, "prediction_length": 9, "n_tokens": shape["vocab_size"], "n_special_tokens": 2,
        "pad_token_id": 0, "eos_token_id": 1, "use_eos_token": True, "model_type": "seq2seq", "num_samples": 20,
        "temperature": 1.0, "top_k": 50, "top_p": 1.0, **bins,
    }  # fmt: skip
    return cells_seq2seq.t5(untied=untied, chronos_config=said, **shape)


def pasts(home: Any, rng: Rng) -> list[Arrays]:
    """Bins of a past with the end, and of a future with the start."""
    first, size = home.config.chronos_config["n_special_tokens"] + 1, home.config.vocab_size
    return [
        {
            "source": np.append(rng.integers(first, size, past), 1),
            "target": np.append(0, rng.integers(first, size, future)),
        }
        for past, future in ((40, 0), (1, 3), (13, 8), (150, 140))
    ]


def path(home: Any, record: Arrays, beams: int) -> list[int]:
    """The likeliest path: exactly as many steps as the horizon has, or the 12 that are asked for."""
    steps, given = min(12, home.config.chronos_config["prediction_length"]), cells_seq2seq.keywords(home, record)
    mask = torch.ones_like(given["input_ids"])
    found = home.generate(
        **given, attention_mask=mask, num_beams=beams, min_new_tokens=steps, max_new_tokens=steps, do_sample=False,
        use_cache=False,
    )  # fmt: skip
    return found[0, len(record["target"]) :].tolist()


T5: dict[str, Any] = cells_seq2seq.SMALL_T5
CHRONOS_SHAPES: tuple[dict[str, Any], ...] = (
    T5 | {"bins": {}},
    T5 | {"bins": {"prediction_length": 12}, "untied": True, "feed_forward_proj": "gated-gelu", "num_decoder_layers": 3},
    T5 | {"bins": {"n_special_tokens": 5, "use_eos_token": False}, "num_heads": 1, "d_kv": 7, "d_model": 15,
          "layer_norm_epsilon": 0.3, "relative_attention_num_buckets": 12, "relative_attention_max_distance": 50},
)  # fmt: skip
CELLS = [
    Cell("patchtst", "forecast", home, SHAPES, patches, forecast),
    Cell("chronos", "sampled forecast", chronos, CHRONOS_SHAPES, pasts, cells_seq2seq.logits, written=path),
]
