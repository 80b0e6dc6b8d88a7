"""BERT-base (Devlin et al. 2018): ids of 32 texts to a vector for each token, of mixed lengths or of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from anyformer.data.packs import collate
from anyformer.plan.flops import forward_flops
from anyformer.task import Array, Sample
from benchmarks.inference.case import Asked, Case, relative
from benchmarks.inference.limits import Phase
from benchmarks.inference.sides import Ours, compiled, lowered, read

MIXED = (
    170, 148, 131, 117, 106, 96, 87, 79, 72, 65, 59, 54, 49, 44, 40, 36, 33, 29, 26, 23, 20, 18, 15, 13, 11, 9, 8, 6, 5, 4,
    3, 3,
)  # fmt: skip
"""Tokens by text: 1,579, and 5,440 once padded."""
EQUAL = (128,) * 32
SUB_BATCH = 4


def build(asked: Asked) -> Case:
    """The case of a name."""
    from transformers import BertConfig, BertModel

    lengths = MIXED if asked.name == "bert-mixed" else EQUAL
    home = BertModel(BertConfig(), add_pooling_layer=False).eval()
    texts = drawn(lengths, 1000, home.config.vocab_size)
    theirs = {"transformers": partial(padded, home, texts, len(texts))}
    low = lowered(home, asked.precision)
    if low is not None and low is not home:
        theirs[f"transformers, {asked.precision}"] = partial(padded, low, texts, len(texts))
    if low is not None and asked.name == "bert-mixed":
        theirs[f"transformers, {asked.precision}, sorted, {SUB_BATCH} at a time"] = partial(
            padded, low, texts, SUB_BATCH
        )
    elif low is not None and asked.precision != "int8" and not asked.quick:
        fast = compiled(low)
        theirs[f"transformers, {asked.precision}, compiled and frozen"] = partial(padded, fast, texts, len(texts))
    return of_texts(read(home, asked.precision), texts, "texts/s", len(texts), theirs)


def of_texts(
    ours: Ours, texts: Sequence[Array], unit: str, amount: float, theirs: Mapping[str, Callable[[], list[Tensor]]]
) -> Case:  # fmt: skip
    """A case of ids in, vectors out."""
    return Case(
        "from ids to the vectors of all tokens", unit, amount, lambda: packed(ours, texts), theirs,
        [Phase(sum(forward_flops(ours.trunk, {"source": len(text)}) for text in texts))], relative,
    )  # fmt: skip


def drawn(lengths: Sequence[int], low: int, high: int) -> list[Array]:
    """Ids in an order that is not that of the lengths."""
    rng = np.random.default_rng(0)
    return [rng.integers(low, high, length) for length in rng.permutation(np.array(lengths))]


def packed(ours: Ours, texts: Sequence[Array]) -> list[Tensor]:
    """Our vectors of each text."""
    parts, _ = collate([Sample({"source": ids}) for ids in texts])
    with torch.inference_mode():
        stream = ours.model.encode(parts, ours.component)["source"]
    return stream.pack.split(stream.x_TD)


def padded(home: nn.Module | Callable[..., Any], texts: Sequence[Array], size: int, padding: int = 0) -> list[Tensor]:
    """The home model's vectors of each text: in batches of `size`, sorted by length where there are several."""
    order = np.argsort([len(text) for text in texts], kind="stable") if size < len(texts) else np.arange(len(texts))
    found: dict[int, Tensor] = {}
    for first in range(0, len(texts), size):
        chosen = order[first : first + size]
        lengths = torch.tensor([len(texts[index]) for index in chosen])
        ids = nn.utils.rnn.pad_sequence([torch.from_numpy(texts[index]) for index in chosen], True, padding)
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        with torch.no_grad():
            vectors = home(input_ids=ids, attention_mask=mask).last_hidden_state
        for index, length, each in zip(chosen, lengths.tolist(), vectors, strict=True):
            found[int(index)] = each[:length]
    return [found[index] for index in range(len(texts))]
