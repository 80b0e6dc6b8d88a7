"""PatchTST (Nie et al. 2023, https://arxiv.org/abs/2211.14730): an encoder of the patches of one series, shared by all.

* The norm is a batch norm or a layer norm, before or after each half block; none comes last.
* Positions are a table with a row for each patch, whether it was drawn or filled with sines at first.
* The file says how many series it was trained on; where all share their weights, it forecasts any number.
* Masking is for pretraining: the class that forecasts switches it off, whatever the file says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from anyformer.families import Architecture, Computed, Field, Fixed, Only, linear, same
from anyformer.families.bert import ACTIVATIONS
from anyformer.families.fields import Ours, Row, Theirs
from anyformer.families.steps import Step

ASSUMED = {
    "context_length": 32, "prediction_length": 24, "patch_length": 1, "patch_stride": 1, "d_model": 128,
    "num_hidden_layers": 3, "num_attention_heads": 4, "ffn_dim": 512, "norm_type": "batchnorm", "norm_eps": 1e-5,
    "pre_norm": True, "bias": True, "activation_function": "gelu", "pooling_type": "mean", "minimum_scale": 1e-5,
    "attention_dropout": 0.0, "path_dropout": 0.0, "ff_dropout": 0.0,
}  # fmt: skip


def _num_patches(theirs: Theirs) -> Mapping[str, Any]:
    context, length, stride = (theirs[key] for key in ("context_length", "patch_length", "patch_stride"))
    if not (type(context) is type(length) is type(stride) is int and 0 < length < context and stride > 0):
        raise ValueError(
            f"'context_length' is {context!r}, 'patch_length' {length!r} and 'patch_stride' {stride!r}; they must be "
            "numbers above 0, the first greater than the second"
        )
    return {"trunk.encoder.position.length": (context - length) // stride + 1}


def _series(ours: Ours) -> Mapping[str, Any]:
    """What is written of the series and of how they are cut."""
    if ours["tokenizer"]["lengthen"]:
        raise ValueError("the tokenizer's lengthen is True, where the family means False")
    names = ours["state"].get("names", [])
    return {"num_input_channels": len(names)} if len(names) else {}


FIELDS: tuple[Row, ...] = (
    Field("d_model", "trunk.encoder.width"),
    Field("num_hidden_layers", "trunk.encoder.depth"),
    Field("num_attention_heads", "trunk.encoder.attention.heads"),
    Field("attention_dropout", "trunk.encoder.attention.dropout"),
    Field("ffn_dim", "trunk.encoder.feed_forward.width"),
    Field("bias", "trunk.encoder.feed_forward.bias"),
    Field("activation_function", "trunk.encoder.feed_forward.activation", ACTIVATIONS),
    Field("ff_dropout", "trunk.encoder.feed_forward.dropout"),
    Field("path_dropout", "trunk.encoder.dropout"),
    Field("norm_type", "trunk.encoder.norm.kind", {"batchnorm": "batch", "layernorm": "layer"}),
    Field("norm_eps", "trunk.encoder.norm.epsilon"),
    Field("pre_norm", "trunk.encoder.norm.place", {True: "pre", False: "post"}),
    Fixed("trunk.encoder.norm.final", False),
    Fixed("trunk.encoder.position.kind", "learned"),
    Field("patch_length", "tokenizer.length"),
    Field("patch_stride", "tokenizer.stride"),
    Computed(_num_patches, _series),
    Only("share_embedding", True),
    Only("channel_attention", False),
    Only("use_cls_token", False),
    Only("scaling", "std"),
    Only("scaling_dim", 1),
    Only("keepdim", True),
)


def weights(theirs: Theirs) -> Iterator[Step]:
    """The embedding and the blocks."""
    patch = "embedding.streams.source"
    yield from linear("encoder.embedder.input_embedding", f"{patch}.projection")
    yield same("encoder.positional_encoder.position_enc", f"{patch}.positions.table.weight")
    for index in range(theirs["num_hidden_layers"]):
        their, our = f"encoder.layers.{index}", f"trunk.encoder.blocks.{index}"
        for letter, name in {"q": "query", "k": "key", "v": "value"}.items():
            yield from linear(f"{their}.self_attn.{letter}_proj", f"{our}.attention.{name}")
        yield from linear(f"{their}.self_attn.out_proj", f"{our}.attention.output")
        yield from _norm(theirs, f"{their}.norm_sublayer1", f"{our}.attention_residual.norm")
        yield from linear(f"{their}.ff.0", f"{our}.feed_forward.up", theirs["bias"])
        yield from linear(f"{their}.ff.3", f"{our}.feed_forward.down", theirs["bias"])
        yield from _norm(theirs, f"{their}.norm_sublayer3", f"{our}.feed_forward_residual.norm")


def _norm(theirs: Theirs, their: str, our: str) -> Iterator[Step]:
    if theirs["norm_type"] == "layernorm":
        yield from linear(their, our)
        return
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        yield same(f"{their}.batchnorm.{name}", f"{our}.{name}")


def prediction(task: str) -> Architecture:
    """`PatchTSTForPrediction` trained by squared error: the mean of each future value."""
    rows = (
        Field("context_length", "config.look_back"),
        Field("prediction_length", "config.horizon"),
        Field("pooling_type", "config.pool", {None: "flatten", "mean": "mean", "max": "max"}),
        Field("minimum_scale", "config.floor"),
        Fixed("config.quantiles", (0.5,)),
        Fixed("config.loss", "squared"),
        Only("loss", "mse"),
        Only("share_projection", True),
    )
    return Architecture(task, rows, lambda theirs: linear("head.projection", "head.output"))
