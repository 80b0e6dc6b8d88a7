"""Cells of encoder-decoders.

The home library computes T5's norms in fp32, and holds Marian's sinusoids in fp32, whatever type the model has. For the
comparison in float64 its casts are widened, and its sinusoids computed anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from anyformer.task import Rng
from anyformer.testing.parity import Arrays, Cell

LENGTHS = ((7, 5), (1, 1), (13, 2), (4, 9))
"""Of source and target."""
LONG = (170, 150)
"""Beyond the distance from which on T5's positions share a bucket."""


class WideNorms(TorchFunctionMode):
    """Where a tensor is sent to fp32, it goes to float64."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.to:
            args = [torch.float64 if each is torch.float32 else each for each in args]
        return func(*args, **(kwargs or {}))


def pairs(home: Any, rng: Rng) -> list[Arrays]:
    """A source and a target, which begins as any answer of the model does.

    Where the first id after that is forced, there is nothing else: the home library counts it from the target's beginning.
    """
    size, start = home.config.vocab_size, home.config.decoder_start_token_id
    lengths: tuple[tuple[int, int], ...] = (*LENGTHS, LONG) if "T5" in type(home).__name__ else LENGTHS
    if home.generation_config.forced_bos_token_id is not None:
        lengths = tuple((source, 1) for source, _ in lengths)
    return [
        {
            "source": rng.integers(5, size, source),
            "target": np.concatenate([[start], rng.integers(5, size, target - 1)]).astype(np.int64),
        }
        for source, target in lengths
    ]


def keywords(home: Any, record: Arrays) -> dict[str, Tensor]:
    """A record as the home library takes it, a batch of one; sinusoids are computed in the model's type on the way."""
    for module in home.modules():
        if type(module).__name__ == "MarianSinusoidalPositionalEmbedding":
            rows, width = module.weight.shape
            angles = np.arange(rows)[:, None] / 10000 ** (np.arange(0, width, 2) / width)
            module.weight.data = torch.from_numpy(np.concatenate([np.sin(angles), np.cos(angles)], 1)).to(home.dtype)
    found = {"input_ids": record["source"], "decoder_input_ids": record["target"]}
    return {name: torch.from_numpy(ids)[None] for name, ids in found.items()}


def logits(home: Any, record: Arrays) -> Tensor:
    """What the home model scores after each token of the target."""
    given = keywords(home, record)
    if home.dtype != torch.float64:
        return home(**given).logits[0]
    with WideNorms():
        return home(**given).logits[0]


def written(home: Any, record: Arrays, beams: int) -> list[int]:
    """What the home model writes after the target, without the end."""
    end, given = home.generation_config.eos_token_id, keywords(home, record)
    mask = torch.ones_like(given["input_ids"])
    # The home library makes T5's cache for as many blocks as the encoder has.
    cache = {"use_cache": False} if "T5" in type(home).__name__ else {}
    found = home.generate(**given, attention_mask=mask, num_beams=beams, max_new_tokens=12, do_sample=False, **cache)
    new = found[0, len(record["target"]) :].tolist()
    return new[: new.index(end)] if end in new else new


def t5(name: str = "T5", untied: bool = False, **shape: Any) -> Any:
    """A new T5; the home library ties a new one always, and unties one that was read with a vocabulary of its own."""
    config = getattr(transformers, f"{name}Config")(**shape, decoder_start_token_id=0, tie_word_embeddings=not untied)
    home = getattr(transformers, f"{name}ForConditionalGeneration")(config)
    if untied:
        home.lm_head.weight = nn.Parameter(torch.empty_like(home.shared.weight))
    return home


def bart(name: str, rules: dict[str, Any] | None = None, **shape: Any) -> Any:
    """A new BART or a model like it, with `rules` of generation."""
    kind = "MarianMTModel" if name == "Marian" else f"{name}ForConditionalGeneration"
    home = getattr(transformers, kind)(getattr(transformers, f"{name}Config")(**shape))
    home.generation_config.update(**(rules or {}))
    return home


def save(home: Any, folder: Path) -> None:
    """Give the output a bias, and save.

    It takes away most of what every text makes likely: with drawn weights, that alone would be the answer. Ids that must
    not be written would be, if they could.
    """
    some = {"source": np.arange(20), "target": np.arange(33)}
    with torch.no_grad():
        home.final_logits_bias.zero_()
        usual = logits(home, some).mean(0)
        home.final_logits_bias.copy_(-0.9 * usual[None])
        for (forbidden,) in home.generation_config.bad_words_ids or []:
            home.final_logits_bias[0, forbidden] += 5
    home.save_pretrained(folder)


SMALL_T5 = {"vocab_size": 61, "d_model": 24, "num_layers": 2, "num_heads": 3, "d_kv": 10, "d_ff": 40}
SMALL = {
    "vocab_size": 61, "d_model": 24, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 3,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 40, "decoder_ffn_dim": 30, "max_position_embeddings": 33,
    "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "forced_eos_token_id": 2, "decoder_start_token_id": 2,
}  # fmt: skip
OPUS = SMALL | {
    "pad_token_id": 60, "decoder_start_token_id": 60, "eos_token_id": 3, "forced_eos_token_id": 3, "bos_token_id": None,
    "scale_embedding": True, "activation_function": "swish", "rules": {"bad_words_ids": [[60]]},
}  # fmt: skip
OTHER = SMALL | {"d_model": 36, "encoder_layers": 1, "decoder_layers": 3, "encoder_attention_heads": 1}
T5_SHAPES = (
    SMALL_T5,
    SMALL_T5 | {"untied": True, "feed_forward_proj": "gated-gelu", "num_decoder_layers": 3},
    SMALL_T5 | {"num_heads": 1, "d_kv": 7, "d_model": 15, "layer_norm_epsilon": 0.3, "feed_forward_proj": "gated-silu"},
    SMALL_T5
    | {"relative_attention_num_buckets": 12, "relative_attention_max_distance": 50, "feed_forward_proj": "gelu"},
)
MT5_SHAPES = tuple({**shape, "untied": True, "name": "MT5"} for shape in T5_SHAPES)
BART_SHAPES = (
    SMALL,
    OTHER | {"scale_embedding": True, "activation_function": "relu", "rules": {"forced_bos_token_id": 0}},
    SMALL | {"activation_function": "gelu_new", "decoder_start_token_id": 4, "rules": {"bad_words_ids": [[5], [6]]}},
)
MARIAN_SHAPES = (
    OPUS,
    OPUS | {"scale_embedding": False, "activation_function": "relu"},
    OPUS | {"d_model": 36, "decoder_layers": 3, "forced_eos_token_id": None},
)


def cell(family: str, home: Any, shapes: Any, **more: Any) -> Cell:
    """A cell of conditional generation."""
    return Cell(family, "translation", home, shapes, pairs, logits, written=written, **more)


CELLS = [
    cell("t5", t5, T5_SHAPES),
    cell("mt5", t5, MT5_SHAPES),
    cell("bart", lambda **shape: bart("Bart", **shape), BART_SHAPES, save=save),
    cell("mbart", lambda **shape: bart("MBart", **shape), BART_SHAPES, save=save),
    cell("marian", lambda **shape: bart("Marian", **shape), MARIAN_SHAPES, save=save),
]
