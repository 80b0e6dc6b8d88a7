"""What checkpoints of other libraries say of their images, as settings of `Patches`, and back.

* transformers keeps it in `preprocessor_config.json`; absent, images are stretched to the model's size, as its ViT does.
* timm keeps it in `config.json`, under `pretrained_cfg`.
* What both call mean and standard deviation is of pixels from 0 to 1; ours is of pixels from 0 to 255.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from anyformer.hints import listed
from anyformer_vision.framing import Filter, Framing, text

if TYPE_CHECKING:
    from anyformer_vision.tokenizers import Fitted

FILE = "preprocessor_config.json"
FILTERS: tuple[str, ...] = get_args(Filter)
MODES = {1: "L", 3: "RGB"}
HALF = [0.5, 0.5, 0.5]
SUFFIXES = ("Fast", "Pil", "ImageProcessor", "FeatureExtractor")
KINDS: Mapping[str, Mapping[str, Any]] = {
    "ViT": {"size": 224, "resample": 2, "do_center_crop": False, "image_mean": HALF, "image_std": HALF},
    "DeiT": {"size": 256, "resample": 3, "crop_size": 224, "do_center_crop": True, "image_mean": HALF, "image_std": HALF},
    "Bit": {
        "size": {"shortest_edge": 224}, "resample": 3, "crop_size": 224, "do_center_crop": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
    },
}  # fmt: skip
"""The home library's processors, and what they assume where a file says nothing."""


def read(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of `Patches` from a checkpoint folder, whose `config.json` is `config`.

    Raises `ValueError` in one line for what is not supported.
    """
    if "pretrained_cfg" in config or "architecture" in config:
        return _of_timm(config)
    from anyformer.families.files import read_json

    path = folder / FILE
    patch = _square(config.get("patch_size", 16), "patch_size")
    model_size = pair(config.get("image_size", 224), "image_size")
    if path.is_file():
        given = read_json(path)
    else:
        half = HALF[: config.get("num_channels", 3)]
        given = {"image_processor_type": "ViT", "size": list(model_size), "image_mean": half, "image_std": half}
    if not isinstance(given, dict):
        raise ValueError(f"{path} holds no settings: it is no mapping")
    found = _of_transformers(given, config.get("num_channels", 3)) | {"patch": patch}
    # DINOv2 alone resamples its positions, whatever the size of an image.
    if found["size"] != model_size and config.get("model_type") != "dinov2":
        raise ValueError(
            f"{FILE} makes images of {text(found['size'])} pixels (height x width), the model reads {text(model_size)}; "
            "they must be equal"
        )
    return found


def write(folder: Path, config: Framing, fitted: Fitted) -> bool:
    """Complete a checkpoint folder whose `config.json` is there; False where the library has no word for our settings."""
    if config.resize == "crop":
        return False
    path = folder / "config.json"
    theirs = json.loads(path.read_text("utf-8"))
    before = config.before or fitted.size
    if "architecture" in theirs:
        if _timm_says(theirs, config, fitted):
            return True
        written = _for_timm(config, fitted, before)
        if written is None:
            return False
        theirs["pretrained_cfg"] = {**theirs.get("pretrained_cfg", {}), **written}
        path.write_text(json.dumps(theirs, indent=2, ensure_ascii=False) + "\n", "utf-8")
        return True
    said = _for_transformers(config, fitted, before)
    if said is not None:
        (folder / FILE).write_text(json.dumps(said, indent=2) + "\n", "utf-8")
    return said is not None


def pair(value: Any, name: str) -> tuple[int, int]:
    """Height and width from one number, two, or a mapping of them."""
    if isinstance(value, Mapping) and {"height", "width"} <= value.keys():
        value = [value["height"], value["width"]]
    value = [value, value] if isinstance(value, int) else value
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(isinstance(side, int) for side in value):
        raise ValueError(f"{name!r} is {value!r}; it must be a height and a width, or one number for both")
    return value[0], value[1]


def _square(value: Any, name: str) -> int:
    height, width = pair(value, name)
    if height != width:
        raise ValueError(f"{name!r} is {value!r}; supported: square patches")
    return height


def _of_transformers(given: Mapping[str, Any], num_channels: Any) -> dict[str, Any]:
    named = given.get("image_processor_type") or given.get("feature_extractor_type") or "ViT"
    kind = str(named)
    for suffix in SUFFIXES:
        kind = kind.removesuffix(suffix)
    if kind not in KINDS:
        raise ValueError(f"{FILE}: image processor {named!r} is not supported; there are: {listed(list(KINDS))}")
    said = {
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        **KINDS[kind],
        **given,
    }
    if not said["do_resize"]:
        raise ValueError(f"{FILE}: 'do_resize' is {said['do_resize']!r}; supported: True")
    size = said["size"]
    if kind == "Bit" and isinstance(size, int):
        size = {"shortest_edge": size}
    by_shorter_side = isinstance(size, Mapping) and set(size) == {"shortest_edge"}
    before = pair(size["shortest_edge"] if by_shorter_side else size, "size")
    if not said["do_center_crop"] and by_shorter_side:
        raise ValueError(
            f"{FILE}: images keep their proportions and are not cut ('do_center_crop'), so sizes would differ"
        )
    factor = said["rescale_factor"] if said["do_rescale"] else 1
    normalised = said["do_normalize"]
    mean, std = (said["image_mean"], said["image_std"]) if normalised else ([0.0] * num_channels, [1.0] * num_channels)
    return {
        "size": pair(said["crop_size"], "crop_size") if said["do_center_crop"] else before,
        "before": before if said["do_center_crop"] else None,
        "resize": "cover" if by_shorter_side else "stretch",
        "filter": _filter(dict(enumerate(FILTERS)), said["resample"]), "cut": "down", "mode": _mode(num_channels),
        "mean": _scaled(mean, 1 / factor), "std": _scaled(std, 1 / factor),
    }  # fmt: skip


def _for_transformers(config: Framing, fitted: Fitted, before: tuple[int, int]) -> dict[str, Any] | None:
    cover, square = config.resize == "cover", before[0] == before[1]
    is_cut = cover or before != fitted.size
    if (cover and not square) or (config.cut == "even" and is_cut):
        return None
    height, width = before
    said = {
        "image_processor_type": f"{'Bit' if cover else 'ViT' if before == fitted.size else 'DeiT'}ImageProcessor",
        "do_resize": True, "size": {"shortest_edge": height} if cover else {"height": height, "width": width},
        "resample": FILTERS.index(config.filter), "do_center_crop": is_cut,
        "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
        "image_mean": _scaled(fitted.mean, 1 / 255), "image_std": _scaled(fitted.std, 1 / 255),
    }  # fmt: skip
    if is_cut:
        said["crop_size"] = {"height": fitted.size[0], "width": fitted.size[1]}
    return said


def _of_timm(config: Mapping[str, Any]) -> dict[str, Any]:
    from anyformer_vision.families.timm_vit import sizes

    of, model = config.get("pretrained_cfg", {}), sizes(config)
    num_channels, *size = of.get("input_size", (model["in_chans"], *model["img_size"]))
    if tuple(size) != model["img_size"] or num_channels != model["in_chans"]:
        raise ValueError(
            f"'input_size' is {[num_channels, *size]}, the model reads {[model['in_chans'], *model['img_size']]}; "
            "they must be equal"
        )
    share, how = of.get("crop_pct") or 0.875, of.get("crop_mode") or "center"
    if how not in ("center", "squash") or not 0 < share <= 1:
        raise ValueError(f"'crop_mode' is {how!r} and 'crop_pct' {share!r}; supported: 'center', 'squash', and up to 1")
    return {
        "size": tuple(size), "before": tuple(math.floor(side / share) for side in size),
        "resize": "cover" if how == "center" else "stretch", "cut": "even", "mode": _mode(num_channels),
        "filter": _filter({name: name for name in FILTERS}, of.get("interpolation", "bilinear")),
        "mean": _scaled(of.get("mean", (0.485, 0.456, 0.406)), 255),
        "std": _scaled(of.get("std", (0.229, 0.224, 0.225)), 255),
        "patch": model["patch_size"],
    }  # fmt: skip


def _timm_says(theirs: Mapping[str, Any], config: Framing, fitted: Fitted) -> bool:
    """Whether a configuration already means our settings."""
    if "pretrained_cfg" not in theirs:
        return False
    own = {**config.model_dump(), **fitted.model_dump(), "before": config.before or fitted.size}
    meant = _of_timm(theirs)
    if own["resize"] == "stretch" and own["before"] == own["size"]:
        del meant["cut"]  # nothing is cut
    return all(own[key] == value for key, value in meant.items())


def _for_timm(config: Framing, fitted: Fitted, before: tuple[int, int]) -> dict[str, Any] | None:
    share = fitted.size[0] / before[0]
    if any(math.floor(side / share) != wanted for side, wanted in zip(fitted.size, before, strict=True)):
        share = fitted.size[0] / (before[0] + 0.5)
        if any(math.floor(side / share) != wanted for side, wanted in zip(fitted.size, before, strict=True)):
            return None
    if config.cut == "down" and (config.resize == "cover" or before != fitted.size):
        return None
    num_channels = {mode: number for number, mode in MODES.items()}[fitted.mode]
    return {
        "input_size": [num_channels, *fitted.size], "interpolation": config.filter, "crop_pct": share,
        "crop_mode": "center" if config.resize == "cover" else "squash",
        "mean": _scaled(fitted.mean, 1 / 255), "std": _scaled(fitted.std, 1 / 255),
    }  # fmt: skip


def _filter(names: Mapping[Any, str], given: Any) -> str:
    if not isinstance(given, int | str) or given not in names:
        raise ValueError(f"unknown filter of pixels {given!r}; there are: {listed([str(name) for name in names])}")
    return names[given]


def _mode(num_channels: Any) -> str:
    if num_channels not in MODES:
        raise ValueError(f"images of {num_channels!r} channels are not supported; there are 1 (grey) and 3 (colour)")
    return MODES[num_channels]


def _scaled(values: Any, factor: float) -> tuple[float, ...]:
    return tuple(value * factor for value in values)
