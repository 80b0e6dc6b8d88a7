"""What checkpoints of detectors say of their images, as settings of `Pixels`, and back.

* transformers keeps it in `preprocessor_config.json`. Where the file is absent, the defaults of its processor hold, which
  are one for DETR and one for YOLOS: YOLOS alone rounds sides down to multiples of 16.
* What it calls mean and standard deviation is of pixels from 0 to 1; ours is of pixels from 0 to 255.
* A file without a longest side has no bound; ours is then `MAX_SIDE`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anyformer_vision.resize import MAX_SIDE

FILE = "preprocessor_config.json"
MULTIPLES = {"Detr": 1, "Yolos": 16}
"""The home library's processors, and what sides are multiples of."""
SUFFIXES = ("Fast", "Pil", "ImageProcessor", "FeatureExtractor")
BILINEAR = 2
ASSUMED = {
    "do_resize": True, "do_rescale": True, "do_normalize": True, "resample": BILINEAR, "rescale_factor": 1 / 255,
    "size": {"shortest_edge": 800, "longest_edge": 1333}, "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}  # fmt: skip


def read(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of `Pixels` from a checkpoint folder, whose `config.json` is `config`.

    Raises `ValueError` in one line for what is not supported.
    """
    from anyformer.families.files import read_json

    path = folder / FILE
    given = read_json(path) if path.is_file() else {}
    if not isinstance(given, dict):
        raise ValueError(f"{path} holds no settings: it is no mapping")
    said = {**ASSUMED, **given}
    for key, value in {"do_resize": True, "resample": BILINEAR}.items():
        if said[key] != value:
            raise ValueError(f"{FILE}: {key!r} is {said[key]!r}; supported: {value!r}")
    factor = said["rescale_factor"] if said["do_rescale"] else 1.0
    mean, std = (said["image_mean"], said["image_std"]) if said["do_normalize"] else ([0.0] * 3, [1.0] * 3)
    try:
        moments = {"mean": [value / factor for value in mean], "std": [value / factor for value in std]}
    except (TypeError, ZeroDivisionError):
        raise ValueError(f"{FILE}: 'image_mean', 'image_std' and 'rescale_factor' must be numbers above 0") from None
    return {**_size(said, _kind(given, config), config), **moments}


def write(folder: Path, config: Any) -> bool:
    """Complete a checkpoint folder whose `config.json` is there; False where the library has no word for our settings."""
    kind = str(json.loads((folder / "config.json").read_text("utf-8")).get("model_type")).capitalize()
    if kind not in MULTIPLES or (config.size is None and (not config.shortest or config.multiple != MULTIPLES[kind])):
        return False
    size = {"shortest_edge": config.shortest, "longest_edge": config.longest}
    if config.size is not None:
        size = dict(zip(("height", "width"), config.size, strict=True))
    said = {
        "image_processor_type": f"{kind}ImageProcessor", **ASSUMED, "size": size,
        "image_mean": [_short(value / 255) for value in config.mean],
        "image_std": [_short(value / 255) for value in config.std],
    }  # fmt: skip
    (folder / FILE).write_text(json.dumps(said, indent=2) + "\n", "utf-8")
    return True


def _short(value: float) -> float:
    """Without the last bits, which are of no use and long to read."""
    return round(value, 12)


def _kind(given: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Which processor it is: the one that the file names, else that of the model."""
    named = given.get("image_processor_type") or given.get("feature_extractor_type")
    kind = str(named or config.get("model_type"))
    for suffix in SUFFIXES:
        kind = kind.removesuffix(suffix)
    kind = kind if named else kind.capitalize()
    if kind not in MULTIPLES:
        there = ", ".join(f"{name}ImageProcessor" for name in MULTIPLES)
        raise ValueError(f"{FILE}: image processor {named!r} is not supported; there are: {there}")
    return kind


def _size(said: Mapping[str, Any], kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    size, multiple = said["size"], MULTIPLES[kind]
    if isinstance(size, int):
        size = {"shortest_edge": size, "longest_edge": said.get("max_size", 1333)}
    if isinstance(size, Mapping) and set(size) == {"height", "width"}:
        # A size of its own is not rounded, so it must suit the patches alone.
        return {"size": [size["height"], size["width"]], "multiple": config.get("patch_size", 1)}
    if not isinstance(size, Mapping) or not {"shortest_edge"} <= set(size) <= {"shortest_edge", "longest_edge"}:
        raise ValueError(f"{FILE}: 'size' is {size!r}; supported: shortest_edge and longest_edge, or height and width")
    return {"shortest": size["shortest_edge"], "longest": size.get("longest_edge") or MAX_SIDE, "multiple": multiple}
