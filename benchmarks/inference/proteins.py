"""ESM-2 (Lin et al. 2022) of 35M and 150M parameters: ids of proteins to a vector for each residue."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.inference.case import Asked, Case
from benchmarks.inference.encoders import drawn, of_texts, padded
from benchmarks.inference.sides import lowered, read

SHAPES: dict[str, dict[str, Any]] = {
    "esm2-35m": {"hidden_size": 480, "num_hidden_layers": 12, "num_attention_heads": 20, "intermediate_size": 1920},
    "esm2-150m": {"hidden_size": 640, "num_hidden_layers": 30, "num_attention_heads": 20, "intermediate_size": 2560},
}
LENGTHS = {
    "esm2-35m": (50, 110, 170, 220, 260, 300, 340, 380, 440, 480, 500, 500),
    "esm2-150m": (230, 260, 270, 280),
}
PADDING = 1


def build(asked: Asked) -> Case:
    """The case of a name."""
    from transformers import EsmConfig, EsmModel

    config = EsmConfig(
        vocab_size=33, pad_token_id=PADDING, mask_token_id=32, max_position_embeddings=1026, layer_norm_eps=1e-5,
        position_embedding_type="rotary", token_dropout=True, emb_layer_norm_before=False, **SHAPES[asked.name],
    )  # fmt: skip
    home = EsmModel(config, add_pooling_layer=False).eval()
    for name, buffer in home.named_buffers():
        if name.endswith("inv_freq"):  # as the published files hold it
            buffer.copy_(buffer.half())
    proteins = [np.concatenate([[0], ids[2:], [2]]) for ids in drawn(LENGTHS[asked.name], 4, 24)]
    theirs = {"transformers": partial(padded, home, proteins, len(proteins), PADDING)}
    low = lowered(home, asked.precision)
    if low is not None:
        if low is not home:
            theirs[f"transformers, {asked.precision}"] = partial(padded, low, proteins, len(proteins), PADDING)
        theirs[f"transformers, {asked.precision}, one by one"] = partial(padded, low, proteins, 1)
    return of_texts(read(home, asked.precision), proteins, "residues/s", sum(map(len, proteins)), theirs)
