"""YOLOS (Fang et al. 2021, https://arxiv.org/abs/2106.00666), as transformers writes it.

* A patch is a row of our projection with the channels innermost, and a convolution's kernel with them outermost.
* The positions between blocks are one table [N, 1, S, D], N one less than the blocks.
* Sides of `image_size` need not be multiples of the patch (published models have 1333 and 16): positions are of the whole
  patches in them. Written are the sides of these patches, which mean the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from anyformer.families.bert import ACTIVATIONS
from anyformer.families.family import Architecture
from anyformer.families.fields import Computed, Field, Fixed, Only, Ours, Row, Theirs, get
from anyformer.families.problems import LABELS
from anyformer.families.steps import Step, kept, linear, mapped, same
from anyformer_vision.families.detr import boxes
from anyformer_vision.preprocessing import pair

ASSUMED = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "hidden_act": "gelu", "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "layer_norm_eps": 1e-12,
    "image_size": [512, 864], "patch_size": 16, "num_channels": 3, "qkv_bias": True, "num_detection_tokens": 100,
    "use_mid_position_embeddings": True,
}  # fmt: skip


def _read_grid(theirs: Theirs) -> Mapping[str, Any]:
    sides, patch = pair(theirs["image_size"], "image_size"), theirs["patch_size"]
    if type(patch) is not int or not 1 <= patch <= min(sides):
        raise ValueError(f"'patch_size' is {patch!r}; supported: from 1 to the sides of 'image_size', {list(sides)}")
    height, width = (side // patch for side in sides)
    # So many the home library has between blocks; where they do not fill the grid, it cannot run either.
    rows = sides[0] * sides[1] // patch**2
    if theirs["use_mid_position_embeddings"] and rows != height * width:
        raise ValueError(
            f"'image_size' is {list(sides)} and 'patch_size' {patch}, which means {rows} positions between blocks for "
            f"{height} x {width} patches; supported: sides that are multiples of the patch"
        )
    return {"config.patch": patch, "config.grid": (height, width)}


def _write_grid(ours: Ours) -> Mapping[str, Any]:
    patch = get(ours, "config.patch")
    return {"patch_size": patch, "image_size": [side * patch for side in get(ours, "config.grid")]}


FIELDS: tuple[Row, ...] = (
    Field("hidden_size", "trunk.encoder.width"),
    Field("num_hidden_layers", "trunk.encoder.depth"),
    Field("num_attention_heads", "trunk.encoder.attention.heads"),
    Field("attention_probs_dropout_prob", "trunk.encoder.attention.dropout"),
    Field("qkv_bias", "trunk.encoder.attention.bias"),
    Field("intermediate_size", "trunk.encoder.feed_forward.width"),
    Field("hidden_act", "trunk.encoder.feed_forward.activation", ACTIVATIONS),
    Field("hidden_dropout_prob", "trunk.encoder.dropout"),
    Field("layer_norm_eps", "trunk.encoder.norm.epsilon"),
    Fixed("trunk.encoder.position.kind", "none"),
    Field("num_detection_tokens", "config.num_queries"),
    Field("use_mid_position_embeddings", "config.between"),
    Computed(_read_grid, _write_grid),
    Only("num_channels", 3),
)


def weights(theirs: Theirs) -> Iterator[Step]:
    """The embedding and the blocks."""
    side, our = theirs["patch_size"], "embedding"

    def kernel(weight: Tensor) -> Tensor:
        return weight.unflatten(1, (side, side, 3)).permute(0, 3, 1, 2)

    tables = {"cls_token": "class_token", "detection_tokens": "tokens", "position_embeddings": "positions"}
    for name, own in tables.items():
        yield mapped(f"embeddings.{name}", f"{our}.{own}.weight", lambda found: found[0], lambda table: table[None])
    patches = "embeddings.patch_embeddings.projection"
    yield mapped(
        f"{patches}.weight", f"{our}.projection.weight", lambda found: found.permute(0, 2, 3, 1).flatten(1), kernel
    )
    yield same(f"{patches}.bias", f"{our}.projection.bias")
    between = "encoder.mid_position_embeddings"
    if theirs["use_mid_position_embeddings"] and theirs["num_hidden_layers"] > 1:
        yield mapped(between, f"{our}.between", lambda found: found[:, 0], lambda table: table[:, None])
    else:
        yield from kept(between)  # one block has nothing after it: the file's table is empty
    for index in range(theirs["num_hidden_layers"]):
        yield from _block(theirs, f"encoder.layer.{index}", f"trunk.encoder.blocks.{index}")
    yield from linear("layernorm", "trunk.encoder.final_norm")


def _block(theirs: Theirs, their: str, our: str) -> Iterator[Step]:
    for name in ("query", "key", "value"):
        yield from linear(f"{their}.attention.attention.{name}", f"{our}.attention.{name}", bias=theirs["qkv_bias"])
    yield from linear(f"{their}.attention.output.dense", f"{our}.attention.output")
    yield from linear(f"{their}.layernorm_before", f"{our}.attention_residual.norm")
    yield from linear(f"{their}.layernorm_after", f"{our}.feed_forward_residual.norm")
    yield from linear(f"{their}.intermediate.dense", f"{our}.feed_forward.up")
    yield from linear(f"{their}.output.dense", f"{our}.feed_forward.down")


def detector(task: str) -> Architecture:
    """`YolosForObjectDetection`: a class and a box from each detection token."""

    def head(theirs: Theirs) -> Iterator[Step]:
        for index in range(3):
            yield from linear(f"class_labels_classifier.layers.{index}", f"head.classes.layers.{index}")
        yield from boxes()

    return Architecture(task, (LABELS, Fixed("config.class_layers", 3)), head)
