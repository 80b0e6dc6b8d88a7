"""ViT (Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929), DeiT and DINOv2, as transformers writes them.

* A patch is a row of our projection with the channels innermost, and a convolution's kernel with them outermost.
* A bare model's pooler is kept and not read: it exists where nothing was trained with it, too.
* DeiT has two class tokens, whatever its head reads. DINOv2 scales what each half block adds, may have a gated feed-forward,
  and resamples its positions for the grid of the images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from anyformer.families.bert import ACTIVATIONS
from anyformer.families.family import Architecture
from anyformer.families.fields import Computed, Field, Fixed, Ours, Row, Theirs, get
from anyformer.families.problems import LABELS
from anyformer.families.steps import Step, fused, kept, linear, mapped, same
from anyformer_vision.preprocessing import MODES, pair

ASSUMED = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "hidden_act": "gelu", "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "layer_norm_eps": 1e-12,
    "image_size": 224, "patch_size": 16, "num_channels": 3, "qkv_bias": True, "head_dim": None,
}  # fmt: skip
ASSUMED_DINOV2 = {
    **ASSUMED, "layer_norm_eps": 1e-6, "patch_size": 14, "mlp_ratio": 4, "layerscale_value": 1.0, "use_swiglu_ffn": False,
    "drop_path_rate": 0.0,
}  # fmt: skip
PATCHES = "embedding.streams.source"


def _head_width(ours: Ours) -> Mapping[str, Any]:
    width = get(ours, "trunk.encoder.attention.head_width")
    return {} if width is None else {"head_dim": width}


SHARED: tuple[Row, ...] = (
    Field("hidden_size", "trunk.encoder.width"),
    Field("num_hidden_layers", "trunk.encoder.depth"),
    Field("num_attention_heads", "trunk.encoder.attention.heads"),
    Computed(lambda theirs: {"trunk.encoder.attention.head_width": theirs["head_dim"]}, _head_width),
    Field("attention_probs_dropout_prob", "trunk.encoder.attention.dropout"),
    Field("qkv_bias", "trunk.encoder.attention.bias"),
    Field("hidden_dropout_prob", "trunk.encoder.dropout"),
    Field("layer_norm_eps", "trunk.encoder.norm.epsilon"),
    Field("num_channels", "tokenizer.mode", MODES),
    Field("patch_size", "tokenizer.patch"),
    Fixed("trunk.encoder.position.kind", "learned"),
)


def grid_of(theirs: Theirs) -> tuple[int, int]:
    """Rows and columns of patches of the model's images."""
    (height, width), side = pair(theirs["image_size"], "image_size"), pair(theirs["patch_size"], "patch_size")[0]
    return height // side, width // side


def positions(num_prefix: int) -> Computed:
    """As many as class tokens and patches; the image's size is the tokenizer's."""

    def reading(theirs: Theirs) -> Mapping[str, Any]:
        rows, columns = grid_of(theirs)
        return {"trunk.encoder.position.length": num_prefix + rows * columns, "config.class_tokens": num_prefix}

    def writing(ours: Ours) -> Mapping[str, Any]:
        if ours["tokenizer"].get("size") is None:
            raise ValueError("the tokenizer has no size of its own; train with one, for example size=64")
        return {"image_size": list(ours["tokenizer"]["size"])}

    return Computed(reading, writing)


FEED_FORWARD: tuple[Row, ...] = (
    Field("intermediate_size", "trunk.encoder.feed_forward.width"),
    Field("hidden_act", "trunk.encoder.feed_forward.activation", ACTIVATIONS),
)


def _wide(theirs: Theirs) -> int:
    """Inner width of DINOv2's feed-forward layer: two thirds, in multiples of 8, where it is gated."""
    width: int = int(theirs["hidden_size"] * theirs["mlp_ratio"])
    return (int(width * 2 / 3) + 7) // 8 * 8 if theirs["use_swiglu_ffn"] else width


def _read_wide(theirs: Theirs) -> Mapping[str, Any]:
    gated = theirs["use_swiglu_ffn"]
    activation = "silu" if gated else ACTIVATIONS.get(theirs["hidden_act"])
    if activation is None:
        raise ValueError(f"'hidden_act' is {theirs['hidden_act']!r}; supported: {', '.join(ACTIVATIONS)}")
    of = "trunk.encoder.feed_forward"
    return {f"{of}.width": _wide(theirs), f"{of}.gated": gated, f"{of}.activation": activation}


def _write_wide(ours: Ours) -> Mapping[str, Any]:
    of, width = get(ours, "trunk.encoder.feed_forward"), get(ours, "trunk.encoder.width")
    said = {"use_swiglu_ffn": of["gated"], "hidden_size": width}
    if not of["gated"]:
        said["hidden_act"] = next(name for name, own in ACTIVATIONS.items() if own == of["activation"])
    ratios = range(1, 65)
    found = [ratio for ratio in ratios if of["width"] == _wide({**said, "mlp_ratio": ratio})]
    if not found:
        raise ValueError(
            f"feed_forward.width is {of['width']}; the family has whole multiples of {width} ('mlp_ratio')"
        )
    return {**said, "mlp_ratio": 4 if 4 in found else found[0]}


def _read_grid(theirs: Theirs) -> Mapping[str, Any]:
    height, width = pair(theirs["image_size"], "image_size")
    if height != width:
        raise ValueError(
            f"'image_size' is {theirs['image_size']!r}; supported: square, as positions are resampled from"
        )
    return {"config.grid": grid_of(theirs)}


def _write_grid(ours: Ours) -> Mapping[str, Any]:
    grid = get(ours, "config.grid")
    if grid is None:
        raise ValueError("config.grid is None; the family has the grid that positions are for")
    return {"image_size": grid[0] * get(ours, "tokenizer.patch")}


VIT: tuple[Row, ...] = (*SHARED, *FEED_FORWARD, positions(1))
DEIT: tuple[Row, ...] = (*SHARED, *FEED_FORWARD, positions(2))
DINOV2: tuple[Row, ...] = (
    *SHARED,
    Computed(_read_wide, _write_wide),
    Field("layerscale_value", "trunk.encoder.layer_scale"),
    Field("drop_path_rate", "trunk.encoder.stochastic_depth"),
    Computed(lambda theirs: positions(1).reading(theirs), lambda ours: {}),
    Computed(_read_grid, _write_grid),
)


def projection(theirs: str, side: int, num_channels: int) -> Iterator[Step]:
    """A convolution [D, C, p, p] that does not overlap: our linear layer of patches [D, p * p * C]."""

    def read(kernel: Tensor) -> Tensor:
        return kernel.permute(0, 2, 3, 1).flatten(1)

    def write(weight: Tensor) -> Tensor:
        return weight.unflatten(1, (side, side, num_channels)).permute(0, 3, 1, 2)

    yield mapped(f"{theirs}.weight", f"{PATCHES}.projection.weight", read, write)
    yield same(f"{theirs}.bias", f"{PATCHES}.projection.bias")


def around(prefix: tuple[str, ...], table: str) -> Iterator[Step]:
    """Class tokens, each a tensor [1, 1, D], and the table of positions [1, S, D]."""
    yield Step(
        prefix, (f"{PATCHES}.prefix.weight",), lambda found: [torch.cat([tensor[0] for tensor in found])],
        lambda own: [tensor[None] for tensor in own[0].split(1)],
    )  # fmt: skip
    yield mapped(table, f"{PATCHES}.positions.table.weight", lambda found: found[0], lambda own: own[None])


def _embeddings(theirs: Theirs, *tokens: str) -> Iterator[Step]:
    side = pair(theirs["patch_size"], "patch_size")[0]
    yield from around(tuple(f"embeddings.{token}" for token in tokens), "embeddings.position_embeddings")
    yield from projection("embeddings.patch_embeddings.projection", side, theirs["num_channels"])
    yield from kept("embeddings.mask_token")
    yield from linear("layernorm", "trunk.encoder.final_norm")


def _attention(theirs: Theirs, index: int) -> Iterator[Step]:
    their, our = f"encoder.layer.{index}.attention", f"trunk.encoder.blocks.{index}.attention"
    for name in ("query", "key", "value"):
        yield from linear(f"{their}.attention.{name}", f"{our}.{name}", bias=theirs["qkv_bias"])
    yield from linear(f"{their}.output.dense", f"{our}.output")


def _blocks(theirs: Theirs) -> Iterator[Step]:
    for index in range(theirs["num_hidden_layers"]):
        their, our = f"encoder.layer.{index}", f"trunk.encoder.blocks.{index}"
        yield from _attention(theirs, index)
        yield from linear(f"{their}.layernorm_before", f"{our}.attention_residual.norm")
        yield from linear(f"{their}.layernorm_after", f"{our}.feed_forward_residual.norm")
        yield from linear(f"{their}.intermediate.dense", f"{our}.feed_forward.up")
        yield from linear(f"{their}.output.dense", f"{our}.feed_forward.down")


def vit(theirs: Theirs) -> Iterator[Step]:
    """The embedding and the blocks of ViT."""
    yield from _embeddings(theirs, "cls_token")
    yield from _blocks(theirs)


def deit(theirs: Theirs) -> Iterator[Step]:
    """Those of DeiT."""
    yield from _embeddings(theirs, "cls_token", "distillation_token")
    yield from _blocks(theirs)


def dinov2(theirs: Theirs) -> Iterator[Step]:
    """Those of DINOv2."""
    yield from _embeddings(theirs, "cls_token")
    for index in range(theirs["num_hidden_layers"]):
        their, our = f"encoder.layer.{index}", f"trunk.encoder.blocks.{index}"
        yield from _attention(theirs, index)
        for number, half in ((1, "attention_residual"), (2, "feed_forward_residual")):
            yield from linear(f"{their}.norm{number}", f"{our}.{half}.norm")
            yield same(f"{their}.layer_scale{number}.lambda1", f"{our}.{half}.scale.weight")
        up, down = f"{our}.feed_forward.up", f"{our}.feed_forward.down"
        if not theirs["use_swiglu_ffn"]:
            yield from linear(f"{their}.mlp.fc1", up)
            yield from linear(f"{their}.mlp.fc2", down)
            continue
        for part in ("weight", "bias"):
            both = [f"{our}.feed_forward.gate.{part}", f"{up}.{part}"]
            yield fused(f"{their}.mlp.weights_in.{part}", both, [_wide(theirs)] * 2)
        yield from linear(f"{their}.mlp.weights_out", down)


def classifier(task: str, pooling: str = "first", *layers: tuple[str, str]) -> Architecture:
    """A label for an image, from what `pooling` says; `layers` are pairs of their name and ours."""

    def head(theirs: Theirs) -> Iterator[Step]:
        for their, our in layers or (("classifier", "output"),):
            yield from linear(their, f"head.{our}")

    return Architecture(task, (LABELS, Fixed("config.pooling", pooling)), head)


EMBEDS: tuple[Row, ...] = (Fixed("config.pooling", "first"), Fixed("config.labelled", False))
"""What a model without a head says of an embedding: it is the first class token."""


def encoder(task: str) -> Architecture:
    """The bare model."""
    return Architecture(
        task, EMBEDS, body=lambda theirs: kept("pooler.dense.weight", "pooler.dense.bias"), prefixed=False
    )
