"""Cells of protein models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import transformers
from cells_nlp import trunk_output
from torch import Tensor, nn
from transformers.models.esm.modeling_esm import EsmRotaryEmbedding

from anyformer.task import Rng
from anyformer.testing.parity import Arrays, Cell
from anyformer_bio.contacts import NEAREST

START, END, MASK = 0, 2, 32
LENGTHS = (9, 24, 15, 33)


def proteins(home: nn.Module, rng: Rng) -> list[Arrays]:
    """Ids of four proteins: without a mask, with one, with several, and with most residues hidden."""
    records = []
    for length, hidden in zip(LENGTHS, (0, 1, 6, 30), strict=True):
        ids = rng.integers(4, 29, length)
        ids[rng.permutation(length)[:hidden]] = MASK
        records.append({"source": np.concatenate([[START], ids, [END]])})
    return records


def _angles(self: Any, x: Tensor, position_ids: Tensor, layer_type: None = None) -> tuple[Tensor, Tensor]:
    angles = (position_ids[..., None].double() * self.inv_freq).repeat(1, 1, 2)
    return angles.cos(), angles.sin()


@contextmanager
def wide(home: nn.Module) -> Iterator[None]:
    """The home library scales masks and turns queries in fp32, whatever the model's type; in float64, let it do it there."""
    if next(home.parameters()).dtype != torch.float64:
        yield
        return
    with patch.object(Tensor, "float", Tensor.double), patch.object(EsmRotaryEmbedding, "forward", _angles):
        yield


def _ids(record: Arrays) -> Tensor:
    return torch.from_numpy(record["source"])[None]


def logits(home: Any, record: Arrays) -> Tensor:
    """A score for each token of the alphabet."""
    with wide(home):
        return home(_ids(record)).logits[0]


def vectors(home: Any, record: Arrays) -> Tensor:
    """The last hidden state."""
    with wide(home):
        return home(_ids(record)).last_hidden_state[0]


def contacts(home: Any, record: Arrays) -> Tensor:
    """Logits of the pairs that are far enough apart, in rows."""
    ids = _ids(record)
    with wide(home), patch.object(getattr(home, "esm", home).contact_head, "activation", nn.Identity()):
        found = home.predict_contacts(ids, torch.ones_like(ids))[0]
    first, second = np.triu_indices(len(found), NEAREST)
    return found[first, second]


SMALL = {
    "vocab_size": 33, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40,
    "pad_token_id": 1, "mask_token_id": 32, "max_position_embeddings": 47, "position_embedding_type": "rotary",
    "token_dropout": True, "layer_norm_eps": 1e-5, "emb_layer_norm_before": False,
}  # fmt: skip
SHAPES = (
    SMALL,
    SMALL | {"num_attention_heads": 1, "num_hidden_layers": 3, "layer_norm_eps": 0.3, "emb_layer_norm_before": True,
             "rope_theta": 50.0},
    SMALL | {"hidden_size": 30, "num_attention_heads": 5, "token_dropout": False, "tie_word_embeddings": False},
    SMALL | {"hidden_size": 21, "position_embedding_type": "absolute", "emb_layer_norm_before": True, "pad_token_id": 3},
)  # fmt: skip


def home(name: str) -> Any:
    """Makes new models of a class, their rotary frequencies in half precision as the published files have them."""

    def make(**shape: Any) -> nn.Module:
        model = getattr(transformers, name)(transformers.EsmConfig(**shape))
        model.set_attn_implementation("eager")  # the others give no attention maps
        for buffer_name, buffer in model.named_buffers():
            if buffer_name.endswith("inv_freq"):
                buffer.copy_(buffer.half())
        return model

    return make


CELLS = [
    Cell("esm", "encoder", home("EsmModel"), SHAPES, proteins, vectors, trunk_output),
    Cell("esm", "fill-mask", home("EsmForMaskedLM"), SHAPES, proteins, logits),
    Cell(
        "esm",
        "regression",
        home("EsmForSequenceClassification"),
        [shape | {"num_labels": 1} for shape in SHAPES],
        proteins,
        logits,
    ),
    Cell("esm", "contacts", home("EsmModel"), SHAPES, proteins, contacts, task="bio/contact-map"),
    Cell("esm", "contacts, masked", home("EsmForMaskedLM"), SHAPES, proteins, contacts, task="bio/contact-map"),
]
