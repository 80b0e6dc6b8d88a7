"""Cells of text models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn

from anyformer.task import Rng
from anyformer.testing.parity import Arrays, Cell

LENGTHS = (7, 1, 13, 4)


def texts(home: nn.Module, rng: Rng, segments: bool = False, part: str = "source") -> list[Arrays]:
    """Ids of four texts of odd lengths, and their segments where asked for."""
    size: int = home.config.vocab_size  # type: ignore[union-attr, assignment]
    records = [{part: rng.integers(5, size, length)} for length in LENGTHS]
    if segments:
        for record in records:
            record[f"{part}_segments"] = np.sort(rng.integers(0, 2, len(record[part])))
    return records


def keywords(record: Arrays) -> dict[str, Tensor]:
    """A record as the home library takes it, a batch of one."""
    found = {"input_ids": torch.from_numpy(record["source"])[None]}
    if "source_segments" in record:
        found["token_type_ids"] = torch.from_numpy(record["source_segments"])[None]
    return found


def logits(home: Any, record: Arrays) -> Tensor:
    """What the home model's head says."""
    return home(**keywords(record)).logits[0]


def vectors(home: Any, record: Arrays) -> Tensor:
    """The last hidden state."""
    return home(**keywords(record)).last_hidden_state[0]


def spans(home: Any, record: Arrays) -> Tensor:
    """Scores of start and end, [L, 2]."""
    found = home(**keywords(record))
    return torch.stack([found.start_logits[0], found.end_logits[0]], dim=-1)


def trunk_output(model: Any, component: str, parts: Any) -> list[Tensor]:
    """Our trunk's output by record."""
    stream = model.encode(parts, component)["source"]
    return stream.pack.split(stream.x_TD)


SMALL = {"vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40,
         "max_position_embeddings": 33}  # fmt: skip
BERT = (
    SMALL,
    SMALL | {"num_attention_heads": 1, "hidden_act": "gelu_new", "num_hidden_layers": 3, "tie_word_embeddings": False},
    SMALL | {"hidden_size": 35, "num_attention_heads": 5, "hidden_act": "relu", "layer_norm_eps": 0.3},
)


ROBERTA = (
    SMALL | {"type_vocab_size": 1},
    SMALL | {"num_attention_heads": 1, "hidden_act": "relu", "pad_token_id": 3, "max_position_embeddings": 21,
             "tie_word_embeddings": False},
    SMALL | {"hidden_size": 35, "num_attention_heads": 5, "hidden_act": "gelu_new", "layer_norm_eps": 0.3,
             "pad_token_id": 0},
)  # fmt: skip
SHORT = {"vocab_size": 61, "dim": 24, "n_layers": 2, "n_heads": 3, "hidden_dim": 40, "max_position_embeddings": 33}
DISTILBERT = (
    SHORT | {"activation": "relu"},
    SHORT | {"n_heads": 1, "n_layers": 4, "activation": "gelu_new", "tie_word_embeddings": False},
    SHORT | {"dim": 35, "n_heads": 5, "sinusoidal_pos_embds": True},
)
FAMILIES = {"Bert": BERT, "Roberta": ROBERTA, "DistilBert": DISTILBERT}


def cell(family: str, head: str, name: str, theirs: Any, shape: Mapping[str, Any] | None = None, **more: Any) -> Cell:
    """A cell of an encoder: `family` and `name` are two halves of the home library's class; `shape` adds to each shape."""
    kind, config = (getattr(transformers, f"{family}{end}") for end in (name, "Config"))
    shapes = [each | (shape or {}) for each in FAMILIES[family]]
    segments = family == "Bert"
    return Cell(
        family.lower(), head, lambda **shape: kind(config(**shape)), shapes,
        lambda home, rng: texts(home, rng, segments=segments), theirs, **more,
    )  # fmt: skip


HEADS = {
    "encoder": ("Model", vectors, {"ours": trunk_output}),
    "fill-mask": ("ForMaskedLM", logits, {}),
    "sequence classification": ("ForSequenceClassification", logits, {"shape": {"num_labels": 5}}),
    "multi-label": (
        "ForSequenceClassification",
        logits,
        {"shape": {"num_labels": 4, "problem_type": "multi_label_classification"}},
    ),
    "regression": ("ForSequenceClassification", logits, {"shape": {"num_labels": 1, "problem_type": "regression"}}),
    "token classification": ("ForTokenClassification", logits, {"shape": {"num_labels": 5}}),
    "question answering": ("ForQuestionAnswering", spans, {}),
}
CELLS = [
    cell(family, head, name, theirs, **more) for family in FAMILIES for head, (name, theirs, more) in HEADS.items()
]
