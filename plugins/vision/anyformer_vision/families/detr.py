"""DETR (Carion et al. 2020, https://arxiv.org/abs/2005.12872), as transformers writes it, on a residual network of timm.

* The keys of the residual network are timm's own, taken from the module that is built for its name.
* Old files give the network by `backbone` and `dilation`, newer ones by `backbone_config`, which then alone counts.
* Old files carry the counters of some batch norms, which nothing reads.
* Old configurations may lack numbers; the home library's defaults stand for them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from anyformer.families.bert import ACTIVATIONS
from anyformer.families.family import Architecture
from anyformer.families.fields import Computed, Field, Fixed, Only, Ours, Row, Theirs, get
from anyformer.families.problems import LABELS
from anyformer.families.steps import Step, kept, linear, mapped, same
from anyformer.nn.weightless import weightless
from anyformer_vision.detr import Backbone, residual_network

ASSUMED = {
    "num_channels": 3, "num_queries": 100, "encoder_layers": 6, "encoder_ffn_dim": 2048, "encoder_attention_heads": 8,
    "decoder_layers": 6, "decoder_ffn_dim": 2048, "decoder_attention_heads": 8, "activation_function": "relu",
    "d_model": 256, "dropout": 0.1, "attention_dropout": 0.0, "activation_dropout": 0.0, "dilation": False,
}  # fmt: skip
LAST = ([1, 2, 3, 4], [4], [-1])
"""Maps of the network that may be asked for: the last of them is the one that is read."""
STRIDES = {None: False, 32: False, 16: True}
"""How many times smaller the last map is than the image, and whether that is a dilated one."""


def _read_network(theirs: Theirs) -> Mapping[str, Any]:
    of = theirs.get("backbone_config")
    if of is None:
        if not theirs.get("use_timm_backbone", True) or theirs.get("backbone_kwargs"):
            raise ValueError(
                "'use_timm_backbone' is false or 'backbone_kwargs' is given; supported: networks of timm by name"
            )
        of = {"backbone": theirs.get("backbone") or "resnet50", "output_stride": 16 if theirs["dilation"] else None}
    elif of.get("model_type") != "timm_backbone":
        raise ValueError(f"'backbone_config' is of type {of.get('model_type')!r}; supported: 'timm_backbone'")
    name, stride = of.get("backbone"), of.get("output_stride")
    if name not in get_args(Backbone):
        raise ValueError(f"'backbone' is {name!r}; supported: {', '.join(get_args(Backbone))}")
    if stride not in STRIDES:
        raise ValueError(f"'output_stride' is {stride!r}; supported: 16 and 32")
    if of.get("out_indices", [4]) not in LAST or of.get("num_channels", 3) != 3:
        raise ValueError(
            "'backbone_config' must read images of 3 channels and give the network's last map ('out_indices')"
        )
    return {"config.backbone": name, "config.dilation": STRIDES[stride]}


def _write_network(ours: Ours) -> Mapping[str, Any]:
    name, dilation = get(ours, "config.backbone"), get(ours, "config.dilation")
    return {
        "backbone_config": {
            "model_type": "timm_backbone", "backbone": name, "num_channels": 3, "features_only": True,
            "use_pretrained_backbone": False, "out_indices": [1, 2, 3, 4], "output_stride": 16 if dilation else None,
        },
        "dilation": dilation,
    }  # fmt: skip


NETWORK = Computed(_read_network, _write_network)
FIXED = {"position.kind": "none", "norm.place": "post", "norm.epsilon": 1e-5}
STACKS = ("encoder", "decoder")


def _in_both(theirs: str, path: str, values: Mapping[Any, Any] | None = None) -> Field:
    return Field(theirs, (f"trunk.encoder.{path}", f"trunk.decoder.{path}"), values)


FIELDS: tuple[Row, ...] = (
    _in_both("d_model", "width"),
    _in_both("dropout", "dropout"),
    _in_both("attention_dropout", "attention.dropout"),
    _in_both("activation_dropout", "feed_forward.dropout"),
    _in_both("activation_function", "feed_forward.activation", ACTIVATIONS),
    *(
        Field(f"{stack}_{theirs}", f"trunk.{stack}.{ours}")
        for stack in STACKS
        for theirs, ours in (("layers", "depth"), ("ffn_dim", "feed_forward.width"), ("attention_heads", "attention.heads"))
    ),
    *(Fixed(f"trunk.{stack}.{path}", value) for stack in STACKS for path, value in FIXED.items()),
    Fixed("trunk.decoder.cross", True),
    Fixed("trunk.decoder.norm.final", True),
    Field("num_queries", "config.num_queries"),
    NETWORK,
    Only("num_channels", 3),
    Only("position_embedding_type", "sine"),
    Only("auxiliary_loss", False),
)  # fmt: skip
"""With `auxiliary_loss`, the home library puts a norm between the blocks of its decoder, at inference too."""


@functools.cache
def network_keys(name: Any, dilation: bool) -> tuple[str, ...]:
    """Names of the weights and fixed numbers of a residual network, as timm has them."""
    with weightless():
        return tuple(residual_network(name, dilation)[0].state_dict())


def weights(theirs: Theirs) -> Iterator[Step]:
    """The residual network, the object queries and the blocks."""
    network = _read_network(theirs)
    yield same("query_position_embeddings.weight", "embedding.queries.weight")
    for key in network_keys(network["config.backbone"], network["config.dilation"]):
        yield same(f"backbone.conv_encoder.model.{key}", f"embedding.backbone.{key}")
        norm, _, last = key.rpartition(".")
        if last == "running_mean":
            yield from kept(f"backbone.conv_encoder.model.{norm}.num_batches_tracked")
    yield mapped(
        "input_projection.weight", "embedding.projection.weight", lambda kernel: kernel.flatten(1),
        lambda weight: weight[..., None, None],
    )  # fmt: skip
    yield same("input_projection.bias", "embedding.projection.bias")
    for stack in STACKS:
        for index in range(theirs[f"{stack}_layers"]):
            yield from _block(f"{stack}.layers.{index}", f"trunk.{stack}.blocks.{index}", stack == "decoder")
    yield from linear("decoder.layernorm", "trunk.decoder.final_norm")


def _block(their: str, our: str, crosses: bool) -> Iterator[Step]:
    halves = {"self_attn": "attention", **({"encoder_attn": "cross"} if crosses else {})}
    for theirs, ours in halves.items():
        for name, own in {"q": "query", "k": "key", "v": "value", "out": "output"}.items():
            yield from linear(f"{their}.{theirs}.{name}_proj", f"{our}.{ours}.{own}")
        yield from linear(f"{their}.{theirs}_layer_norm", f"{our}.{ours}_residual.norm")
    yield from linear(f"{their}.fc1", f"{our}.feed_forward.up")
    yield from linear(f"{their}.fc2", f"{our}.feed_forward.down")
    yield from linear(f"{their}.final_layer_norm", f"{our}.feed_forward_residual.norm")


def boxes() -> Iterator[Step]:
    """The three layers from a query to its box."""
    for index in range(3):
        yield from linear(f"bbox_predictor.layers.{index}", f"head.boxes.layers.{index}")


def detector(task: str) -> Architecture:
    """`DetrForObjectDetection`: a class and a box from each query."""

    def head(theirs: Theirs) -> Iterator[Step]:
        yield from linear("class_labels_classifier", "head.classes.layers.0")
        yield from boxes()

    return Architecture(task, (LABELS, Fixed("config.class_layers", 1)), head)
