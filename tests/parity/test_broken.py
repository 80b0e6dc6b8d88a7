"""Errors made by hand in a model that was read: each must be noticed by the comparison that the cells make.

A row: family, head, number of the shape, what is broken. A comparison that passes with one of these would prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matrix
import pytest
import torch

from anyformer.nn import Model
from anyformer.testing.parity import check

pytest.importorskip("transformers")
Change = Callable[[Model], None]


def zero(name: str) -> Change:
    """Weights or biases whose name ends so, in the trunk or around it, are 0."""

    def change(model: Model) -> None:
        found = [weight for key, weight in model.named_parameters() if key.endswith(name)]
        assert found, f"nothing ends in {name}"
        for weight in found:
            torch.nn.init.zeros_(weight)

    return change


def put(path: str, value: Any) -> Change:
    """A setting of the trunk's parts, or of the embedding's, has another value."""

    def change(model: Model) -> None:
        *ways, name = path.split(".")
        found: Any = model if ways[0] == "trunk" else model[next(iter(model.components))]
        for way in ways:
            found = getattr(found, way)
        assert getattr(found, name) != value
        setattr(found, name, value)

    return change


def moved(stream: str, **changes: Any) -> Change:
    """Positions of a stream, as added by its embedding, are configured otherwise."""

    def change(model: Model) -> None:
        positions = model[next(iter(model.components))].embedding.streams[stream].positions
        positions.settings = positions.settings.model_copy(update=changes)

    return change


def turned(**changes: Any) -> Change:
    """Rotary positions are configured otherwise."""

    def change(model: Model) -> None:
        positions = model.trunk.decoder.positions
        positions.settings = positions.settings.model_copy(update=changes)

    return change


def ruled(**changes: Any) -> Change:
    """Rules of writing, in the task's configuration, are others."""

    def change(model: Model) -> None:
        task = model[next(iter(model.components))].task
        task.config = task.config.model_copy(update=changes)

    return change


BLOCK = "trunk.decoder.blocks.1"
BROKEN: list[tuple[str, str, int, Change]] = [
    ("roberta", "encoder", 0, moved("source", offset=1)),
    ("roberta", "fill-mask", 2, put("trunk.encoder.blocks.0.attention_residual.norm.eps", 1e-12)),
    ("roberta", "fill-mask", 2, put("head.norm.eps", 1e-12)),
    ("roberta", "fill-mask", 0, put("head.activation", torch.relu)),
    ("roberta", "sequence classification", 0, put("head.pool", "last")),
    ("bert", "multi-label", 0, put("head.activation", torch.relu)),
    ("bert", "regression", 0, put("head.pool", "mean")),
    ("roberta", "multi-label", 0, zero("head.hidden.bias")),
    ("distilbert", "regression", 0, zero("head.output.bias")),
    ("distilbert", "sequence classification", 0, put("head.activation", torch.tanh)),
    ("distilbert", "question answering", 0, zero("head.output.bias")),
    ("gpt2", "language model", 0, put(f"{BLOCK}.attention.causal", False)),
    ("gpt2", "language model", 0, zero("attention.key.weight")),
    ("gpt2", "language model", 2, put("trunk.decoder.final_norm.eps", 1e-5)),
    ("llama", "language model", 1, put(f"{BLOCK}.attention_residual.norm.eps", 1e-6)),
    ("llama", "language model", 1, zero("feed_forward.gate.bias")),
    ("llama", "language model", 2, turned(scaling=None)),
    ("mistral", "language model", 1, put(f"{BLOCK}.attention.window", 6)),
    ("qwen2", "language model", 0, zero("attention.value.bias")),
    ("qwen3", "language model", 0, put(f"{BLOCK}.attention.query_norm", torch.nn.Identity())),
    ("qwen3", "language model", 1, put(f"{BLOCK}.attention.key_norm.eps", 1e-6)),
    ("esm", "fill-mask", 0, put("embedding.streams.source.masked.expected", 0.15)),
    ("esm", "fill-mask", 0, put("trunk.encoder.positions.frequencies", None)),
    ("esm", "fill-mask", 1, put("trunk.encoder.final_norm.eps", 1e-5)),
    ("esm", "encoder", 1, zero("streams.source.norm.bias")),
    ("esm", "encoder", 3, moved("source", offset=3)),
    ("esm", "regression", 0, put("head.pool", "mean")),
    ("esm", "contacts", 0, zero("head.regression.bias")),
    ("patchtst", "forecast", 2, put("trunk.encoder.blocks.0.attention_residual.norm.eps", 1e-5)),
    ("patchtst", "forecast", 0, zero("feed_forward_residual.norm.bias")),
    ("patchtst", "forecast", 0, zero("positions.table.weight")),
    ("patchtst", "forecast", 3, put("head.pool", "mean")),
    ("chronos", "sampled forecast", 0, put("head.scale", 1.0)),
    ("chronos", "sampled forecast", 0, put("trunk.decoder.positions.bias.causal", False)),
    ("chronos", "sampled forecast", 2, put("trunk.encoder.final_norm.eps", 1e-6)),
    ("t5", "translation", 0, put("trunk.encoder.blocks.1.attention.scale", None)),
    ("t5", "translation", 0, put("trunk.decoder.blocks.1.cross.scale", None)),
    ("t5", "translation", 0, put("trunk.decoder.positions.bias.causal", False)),
    ("t5", "translation", 0, put("trunk.encoder.positions.bias.furthest", 64)),
    ("t5", "translation", 0, put("head.scale", 1.0)),
    ("t5", "translation", 2, put("trunk.decoder.blocks.0.cross_residual.norm.eps", 1e-6)),
    ("bart", "translation", 0, moved("target", offset=1)),
    ("bart", "translation", 1, put("embedding.streams.source.scale", 1.0)),
    ("bart", "translation", 0, zero("head.output.bias")),
    ("bart", "translation", 1, ruled(forced_first=None)),
    ("bart", "translation", 0, ruled(forced_last=None)),
    ("mbart", "translation", 0, put("trunk.encoder.final_norm", None)),
    ("marian", "translation", 0, moved("source", halves=False)),
    ("marian", "translation", 0, put("embedding.streams.target.scale", 1.0)),
    ("marian", "translation", 0, ruled(suppressed=())),
    ("detr", "detection", 0, zero("embedding.queries.weight")),
    ("detr", "detection", 0, zero("cross.key.weight")),
    ("detr", "detection", 0, put("trunk.decoder.final_norm", None)),
    ("detr", "detection", 1, put("embedding.backbone.bn1.eps", 1e-3)),
    ("detr", "detection", 2, put("trunk.encoder.blocks.1.attention_residual.norm.eps", 1e-3)),
    ("yolos", "detection", 0, zero("embedding.between")),
    ("yolos", "detection", 0, put("embedding.grid", (5, 3))),
    ("yolos", "detection", 0, zero("classes.layers.1.bias")),
    ("yolos", "detection", 1, put("trunk.encoder.blocks.1.feed_forward_residual.norm.eps", 1e-12)),
    ("yolos", "detection", 2, zero("class_token.weight")),
    ("vit", "encoder", 1, put("trunk.encoder.blocks.1.attention_residual.norm.eps", 1e-12)),
    ("vit", "encoder", 0, zero("streams.source.prefix.weight")),
    ("vit", "image classification", 0, zero("feed_forward.down.bias")),
    ("vit", "image classification", 0, put("head.pool", "mean")),
    ("deit", "encoder", 0, zero("streams.source.prefix.weight")),
    ("deit", "with teacher", 0, zero("outputs.1.bias")),
    ("dinov2", "image embedding", 0, put("head.pooling", "mean")),
    ("dinov2", "encoder", 0, zero("feed_forward_residual.scale.weight")),
    ("timm-vit-bare", "encoder", 0, put("trunk.encoder.final_norm.eps", 0.3)),
    ("timm-vit-bare", "encoder", 0, zero("streams.source.prefix.weight")),
    ("timm-vit-bare", "image embedding", 0, zero("attention.value.bias")),
    ("timm-deit-distilled", "image classification", 0, zero("outputs.1.bias")),
]


@pytest.mark.parametrize(
    ("family", "head", "number", "change"),
    [pytest.param(*row, id=f"{row[0]}-{index}") for index, row in enumerate(BROKEN)],
)
def test_broken_is_noticed(family: str, head: str, number: int, change: Change, tmp_path: Path) -> None:
    (cell,) = (cell for cell in matrix.cells() if (cell.family, cell.head) == (family, head))
    with pytest.raises(AssertionError, match=r"relative error|beams: .* beside"):
        check(cell, cell.shapes[number], tmp_path, change)
