"""ViT and DeiT as timm writes them: sizes follow from the architecture's name, and `model_args` may change them.

* Queries, keys and values are one weight. A distilled DeiT has a second class token and a second head.
* Names beyond these (other pooling, registers, positions without the class token) are other models, and are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from anyformer.families.family import Architecture
from anyformer.families.fields import Computed, Fixed, Ours, Row, Theirs, get
from anyformer.families.steps import Step, fused, linear, same
from anyformer.hints import listed
from anyformer_vision.families.vit import EMBEDS, around, projection
from anyformer_vision.preprocessing import MODES, pair

SIZES = {
    "tiny": {"embed_dim": 192, "depth": 12, "num_heads": 3},
    "small": {"embed_dim": 384, "depth": 12, "num_heads": 6},
    "base": {"embed_dim": 768, "depth": 12, "num_heads": 12},
    "large": {"embed_dim": 1024, "depth": 24, "num_heads": 16},
}
NAMES = (
    "vit_base_patch16_224", "vit_base_patch16_384", "vit_base_patch32_224", "vit_base_patch32_384", "vit_base_patch8_224",
    "vit_tiny_patch16_224", "vit_tiny_patch16_384", "vit_small_patch16_224", "vit_small_patch16_384",
    "vit_small_patch32_224", "vit_small_patch32_384", "vit_large_patch16_224", "vit_large_patch16_384",
    "vit_large_patch32_224", "vit_large_patch32_384", "vit_large_patch14_224",
    "deit_tiny_patch16_224", "deit_small_patch16_224", "deit_base_patch16_224", "deit_base_patch16_384",
)  # fmt: skip
DISTILLED_NAMES = (
    "deit_base_distilled_patch16_224", "deit_tiny_distilled_patch16_224", "deit_small_distilled_patch16_224",
    "deit_base_distilled_patch16_384",
)  # fmt: skip
DEFAULTS: Mapping[str, Any] = {
    "in_chans": 3, "mlp_ratio": 4.0, "qkv_bias": True, "init_values": None, "act_layer": None, "num_classes": 1000,
}  # fmt: skip
ONLY: Mapping[str, Any] = {
    "global_pool": "token", "class_token": True, "no_embed_class": False, "reg_tokens": 0, "pos_embed": "learn",
    "pre_norm": False, "final_norm": True, "fc_norm": None, "qk_norm": False, "proj_bias": True, "norm_layer": None,
    "scale_attn_norm": False, "scale_mlp_norm": False, "pool_include_prefix": False, "dynamic_img_size": False,
}  # fmt: skip
"""Arguments of which one value alone is supported."""
IN_TRAINING = (
    "drop_rate", "pos_drop_rate", "patch_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate", "weight_init",
    "fix_init",
)  # fmt: skip
"""Arguments that change no answer."""
ACTIVATIONS = {None: "gelu", "gelu": "gelu", "gelu_tanh": "gelu_tanh", "relu": "relu", "silu": "silu"}


def sizes(theirs: Theirs) -> dict[str, Any]:
    """All arguments of a model, from its name and `model_args`. Raises `ValueError` for one that is not supported."""
    given = theirs.get("model_args") or {}
    _, size, *_, patch, side = theirs["architecture"].split("_")
    named = {**DEFAULTS, **SIZES[size], "patch_size": int(patch.removeprefix("patch")), "img_size": int(side)}
    for name, value in given.items():
        if name in ONLY and value != ONLY[name]:
            raise ValueError(f"'model_args' has {name!r} {value!r}; supported: {ONLY[name]!r}")
        if name not in ONLY and name not in named and name not in IN_TRAINING:
            raise ValueError(f"'model_args' has {name!r}, which is not supported; there are: {listed(list(named))}")
    found = {name: given.get(name, value) for name, value in named.items()}
    patch_size = pair(found["patch_size"], "patch_size")
    if patch_size[0] != patch_size[1]:
        raise ValueError(f"'patch_size' is {list(patch_size)}; supported: square patches")
    return {**found, "patch_size": patch_size[0], "img_size": pair(found["img_size"], "img_size")}


def _reading(theirs: Theirs) -> Mapping[str, Any]:
    of, encoder = sizes(theirs), "trunk.encoder"
    if of["act_layer"] not in ACTIVATIONS:
        raise ValueError(f"'act_layer' is {of['act_layer']!r}; supported: {listed(list(map(str, ACTIVATIONS)))}")
    return {
        f"{encoder}.width": of["embed_dim"], f"{encoder}.depth": of["depth"],
        f"{encoder}.attention.heads": of["num_heads"], f"{encoder}.attention.bias": of["qkv_bias"],
        f"{encoder}.feed_forward.width": int(of["embed_dim"] * of["mlp_ratio"]),
        f"{encoder}.feed_forward.activation": ACTIVATIONS[of["act_layer"]],
        f"{encoder}.layer_scale": of["init_values"], "tokenizer.size": of["img_size"],
        "tokenizer.patch": of["patch_size"], "tokenizer.mode": MODES.get(of["in_chans"]),
    }  # fmt: skip


def _labels(theirs: Theirs) -> Mapping[str, Any]:
    """`label_names`, or LABEL_0 and so on."""
    number = theirs.get("num_classes", DEFAULTS["num_classes"])
    names = theirs.get("label_names") or theirs.get("pretrained_cfg", {}).get("label_names")
    if names is None:
        return {"state.labels": [f"LABEL_{index}" for index in range(number)]}
    if not isinstance(names, list) or len(names) != number:
        raise ValueError(f"'label_names' must be a list of {number} names ('num_classes')")
    return {"state.labels": [str(name) for name in names]}


def _writing(ours: Ours) -> Mapping[str, Any]:
    stack, tokenizer, labels = get(ours, "trunk.encoder"), ours["tokenizer"], ours["state"].get("labels", [])
    if tokenizer.get("size") is None or tokenizer["mode"] not in MODES.values():
        raise ValueError("the tokenizer has no size or mode of its own; train with them, for example size=64 mode=RGB")
    width, inner = stack["width"], stack["feed_forward"]["width"] or 4 * stack["width"]
    ratio = inner / width
    arguments = {
        "img_size": list(tokenizer["size"]), "patch_size": tokenizer["patch"], "embed_dim": width,
        "in_chans": next(number for number, mode in MODES.items() if mode == tokenizer["mode"]),
        "depth": stack["depth"], "num_heads": stack["attention"]["heads"], "qkv_bias": stack["attention"]["bias"],
        "mlp_ratio": ratio if int(width * ratio) == inner else (inner + 0.5) / width, "num_classes": len(labels),
    }  # fmt: skip
    if stack["layer_scale"] is not None:
        arguments["init_values"] = stack["layer_scale"]
    if stack["feed_forward"]["activation"] != "gelu":
        arguments["act_layer"] = stack["feed_forward"]["activation"]
    named = {} if labels == [f"LABEL_{index}" for index in range(len(labels))] else {"label_names": labels}
    return {"model_args": arguments, "num_classes": len(labels), **named}


def fields(num_prefix: int) -> tuple[Row, ...]:
    """The rows of a model with so many class tokens."""

    def length(theirs: Theirs) -> Mapping[str, Any]:
        of = sizes(theirs)
        (height, width), side = of["img_size"], of["patch_size"]
        return {"trunk.encoder.position.length": num_prefix + (height // side) * (width // side)}

    return (
        Computed(_reading, _writing),
        Computed(length, lambda ours: {}),
        Fixed("trunk.encoder.position.kind", "learned"),
        Fixed("trunk.encoder.norm.epsilon", 1e-6),
        Fixed("config.class_tokens", num_prefix),
    )


def weights(theirs: Theirs, *more: str) -> Iterator[Step]:
    """The embedding and the blocks; `more` are class tokens beside the first."""
    of = sizes(theirs)
    yield from around(("cls_token", *more), "pos_embed")
    yield from projection("patch_embed.proj", of["patch_size"], of["in_chans"])
    for index in range(of["depth"]):
        their, our = f"blocks.{index}", f"trunk.encoder.blocks.{index}"
        for part in ("weight", "bias") if of["qkv_bias"] else ("weight",):
            names = [f"{our}.attention.{name}.{part}" for name in ("query", "key", "value")]
            yield fused(f"{their}.attn.qkv.{part}", names, [of["embed_dim"]] * 3)
        yield from linear(f"{their}.attn.proj", f"{our}.attention.output")
        yield from linear(f"{their}.mlp.fc1", f"{our}.feed_forward.up")
        yield from linear(f"{their}.mlp.fc2", f"{our}.feed_forward.down")
        for number, half in ((1, "attention_residual"), (2, "feed_forward_residual")):
            yield from linear(f"{their}.norm{number}", f"{our}.{half}.norm")
            if of["init_values"] is not None:
                yield same(f"{their}.ls{number}.gamma", f"{our}.{half}.scale.weight")
    yield from linear("norm", "trunk.encoder.final_norm")


def distilled(theirs: Theirs) -> Iterator[Step]:
    """Those of a distilled DeiT."""
    return weights(theirs, "dist_token")


def classifier(task: str, pooling: str, *layers: tuple[str, str]) -> Architecture:
    """A label for an image; `layers` are pairs of their name and ours."""

    def head(theirs: Theirs) -> Iterator[Step]:
        for their, our in layers:
            yield from linear(their, f"head.{our}")

    return Architecture(task, (Computed(_labels, lambda ours: {}), Fixed("config.pooling", pooling)), head)


def encoder(task: str) -> Architecture:
    """A model without a head, or with one that is not read."""
    return Architecture(task, EMBEDS)
