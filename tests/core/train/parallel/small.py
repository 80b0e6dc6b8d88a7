"""Small models in float64 that between them have whatever a trunk can have, and records for them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from anyformer.heads.language import LanguageModel
from anyformer.nn import Component, Model, Pack, Part, build, config
from anyformer.nn.pack import Parts

VOCABULARY = 13
RECORDS = [4, 7, 1, 6, 3, 5, 2, 8]
"""Their lengths."""
TRUNKS = {
    "relative": {
        "encoder": config.Stack(
            width=16, depth=2, attention=config.Attention(heads=4, key_value_heads=2, output_bias=False),
            position=config.Position(kind="relative", buckets=4, furthest=6), norm=config.Norm(kind="rms"),
            feed_forward=config.FeedForward(width=6, gated=True, bias=False),
        ),
        "decoder": config.Stack(
            width=16, depth=2, causal=True, cross=True, position=config.Position(kind="relative", buckets=4, furthest=6),
            attention=config.Attention(heads=2, head_width=6, query_key_norm="rms"),
        ),
    },
    "rotary": {
        "decoder": config.Stack(
            width=12, depth=2, causal=True, parallel=True, layer_scale=0.5, position=config.Position(kind="rotary"),
            attention=config.Attention(heads=2, query_key_norm="layer"), feed_forward=config.FeedForward(gated=True),
        )
    },
    "alibi": {
        "decoder": config.Stack(
            width=12, depth=2, causal=True, position=config.Position(kind="alibi"), norm=config.Norm(place="post"),
            attention=config.Attention(heads=6, key_value_heads=2), embedding=config.Embedding(norm=True, segments=2),
        )
    },
}  # fmt: skip
TIED = {"relative": True, "rotary": False, "alibi": True}


def new_model(name: str, components: tuple[str, ...] = ("only",)) -> Model:
    """A model of one of the trunks; the same on each call. The first component is tied where `TIED` says so."""
    trunk = config.Trunk(**TRUNKS[name])
    tokenizer = SimpleNamespace(vocabulary_size=VOCABULARY, patch_width=0, mask_id=None)
    task: Any = None
    torch.manual_seed(0)
    made = {
        id: Component(
            task, build.embedding_for(trunk, {"only": tokenizer}),
            LanguageModel(trunk.output.width, VOCABULARY, tied=TIED[name] and not index, bias=True),
        )
        for index, id in enumerate(components)
    }  # fmt: skip
    model = Model(build.trunk(trunk), made).double()
    generator = torch.Generator().manual_seed(1)
    for weight in model.parameters():
        fan_in = weight.shape[-1] if weight.ndim > 1 else 1
        weight.data.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) / fan_in**0.5)
    return model


def pack(model: Model, records: list[int]) -> tuple[Parts, Parts]:
    """Parts and targets of some of the records, each drawn from its number."""
    pairs = [draw(record) for record in records]

    def part(side: int) -> Part:
        drawn = [pair[side] for pair in pairs]
        return Part(torch.cat(drawn), Pack.of([len(each) for each in drawn]))

    parts = {"target": part(0)}
    if model.trunk.encoder is not None:
        parts["source"] = part(1)
    return parts, {"labels": part(2)}


def draw(record: int) -> tuple[Tensor, Tensor, Tensor]:
    """What a decoder reads, what an encoder reads, and labels."""
    generator = torch.Generator().manual_seed(record)
    length = RECORDS[record]
    lengths = (length, length + 1, length)
    target, source, labels = (torch.randint(VOCABULARY, (each,), generator=generator) for each in lengths)
    return target, source, labels


def decoder(model: Model) -> Any:
    """The decoder, whose blocks a test can name."""
    return model.trunk.decoder


def learn(model: Model, steps: list[tuple[str, list[int]]]) -> None:
    """Add the gradient of the summed loss of micro-packs, each of one component and some records."""
    for component, records in steps:
        model(*pack(model, records), component)["loss"].backward()
