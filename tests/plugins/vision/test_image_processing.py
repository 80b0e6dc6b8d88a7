"""Images as the processors of transformers and timm make them, at odd sizes; and what their files cannot say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from anyformer_vision import preprocessing
from anyformer_vision.framing import covering
from anyformer_vision.tokenizers import Patches

SIZES = ((61, 47), (33, 90), (35, 20), (200, 151), (30, 31))
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
PROCESSORS: list[tuple[str, tuple[int, int], dict[str, Any]]] = [
    ("ViT", (35, 20), {"size": {"height": 35, "width": 20}}),
    ("ViT", (24, 24), {"size": {"height": 24, "width": 24}, "resample": 0, "do_normalize": False}),
    ("DeiT", (24, 20), {"size": {"height": 31, "width": 29}, "crop_size": {"height": 24, "width": 20}}),
    ("Bit", (24, 24), {"size": {"shortest_edge": 29}, "crop_size": {"height": 24, "width": 24}}),
    ("Bit", (24, 24), {"size": {"shortest_edge": 24}, "crop_size": {"height": 24, "width": 24}, "do_rescale": False}),
]


def pictures() -> list[PIL.Image.Image]:
    """Smooth pictures with noise, of odd sizes."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (len(SIZES), 5, 4, 3), dtype=np.uint8)
    found = []
    for (height, width), seed in zip(SIZES, small, strict=True):
        smooth = PIL.Image.fromarray(seed).resize((width, height), PIL.Image.Resampling.BICUBIC)
        noisy = np.asarray(smooth).astype(int) + rng.integers(-20, 20, (height, width, 3))
        found.append(PIL.Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)))
    return found


def image(tokenizer: Patches, picture: PIL.Image.Image) -> Any:
    """What the model would see, [C, H, W]."""
    patches = tokenizer.encode(np.asarray(picture))["patches"]
    (rows, columns), side = tokenizer.grid, tokenizer.config.patch
    grid = patches.reshape(rows, columns, side, side, 3)
    return grid.transpose(4, 0, 2, 1, 3).reshape(3, rows * side, columns * side)


def folder_of(tmp_path: Path, config: dict[str, Any], processor: dict[str, Any] | None = None) -> Path:
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "config.json").write_text(json.dumps(config))
    if processor is not None:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    return tmp_path


@pytest.mark.parametrize(("kind", "size", "settings"), PROCESSORS)
def test_as_transformers_and_back(kind: str, size: tuple[int, int], settings: dict[str, Any], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    processor = getattr(transformers, f"{kind}ImageProcessorPil")(**settings)
    config = {"model_type": "vit", "image_size": list(size), "patch_size": 1}
    folder = folder_of(tmp_path, config)
    processor.save_pretrained(folder)
    read = Patches.read(folder, config)
    again = folder_of(tmp_path / "again", config)
    assert read.write(again)
    other = Patches.read(again, config)
    home = type(processor).from_pretrained(again)
    for picture in pictures():
        true = processor(picture, return_tensors="np")["pixel_values"][0]
        for found in (
            image(read, picture),
            image(other, picture),
            home(picture, return_tensors="np")["pixel_values"][0],
        ):
            assert np.abs(found - true).max() <= 1e-5 * max(1, np.abs(true).max())


@pytest.mark.parametrize("mode", ["center", "squash"])
@pytest.mark.parametrize(("size", "share"), [((24, 24), 0.9), ((24, 24), 1.0), ((35, 20), 0.875), ((21, 28), 0.95)])
def test_as_timm_and_back(mode: str, size: tuple[int, int], share: float, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    of = {"input_size": (3, *size), "crop_pct": share, "crop_mode": mode, "interpolation": "bicubic", **IMAGENET}
    transform = timm.data.create_transform(**of, is_training=False)
    config = {
        "architecture": "vit_tiny_patch16_224", "pretrained_cfg": of, "model_args": {"img_size": size, "patch_size": 1},
    }  # fmt: skip
    read = Patches.read(tmp_path, config)
    again = folder_of(tmp_path / "again", {name: value for name, value in config.items() if name != "pretrained_cfg"})
    assert read.write(again)
    other = Patches.read(again, json.loads((again / "config.json").read_text()))
    for picture in pictures():
        true = transform(picture).numpy()
        for tokenizer in (read, other):
            assert np.abs(image(tokenizer, picture) - true).max() <= 1e-5


def test_a_timm_file_that_means_the_same_stays_as_it_is(tmp_path: Path) -> None:
    config = {"architecture": "vit_tiny_patch16_224", "pretrained_cfg": {"crop_pct": 0.9, "tag": "x"}}
    read = Patches.read(tmp_path, config)
    folder_of(tmp_path, config)
    assert read.write(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == config


def test_without_a_file_images_are_stretched_to_the_models_size(tmp_path: Path) -> None:
    tokenizer = Patches.read(tmp_path, {"model_type": "vit", "image_size": [35, 20], "patch_size": [5, 5]})
    assert (tokenizer.fitted.size, tokenizer.grid, tokenizer.config.resize) == ((35, 20), (7, 4), "stretch")


def test_an_old_file_has_one_number_for_a_size(tmp_path: Path) -> None:
    config = {"model_type": "vit"}
    folder_of(tmp_path, config, {"feature_extractor_type": "ViTFeatureExtractor", "size": 224, "resample": 2})
    assert Patches.read(tmp_path, config).fitted.size == (224, 224)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({"resize": "crop"}, False), ({"resize": "cover", "before": (12, 9)}, False), ({"resize": "stretch"}, True)],
)
def test_what_no_file_can_say_is_not_written(settings: dict[str, Any], expected: bool, tmp_path: Path) -> None:
    tokenizer = Patches(Patches.Config(size=8, mode="L", mean=(1,), std=(2,), **settings))
    tokenizer.fit((), np.random.default_rng(0))
    folder_of(tmp_path, {"model_type": "vit"})
    assert tokenizer.write(tmp_path) is expected
    assert (tmp_path / preprocessing.FILE).is_file() is expected


def test_covering_keeps_proportions() -> None:
    assert covering(61, 47, (24, 24)) == (31, 24)
    assert covering(61, 47, (24, 30)) == (39, 30)


@pytest.mark.parametrize(
    ("config", "processor", "message"),
    [
        ({}, {"size": 256}, r"images of 256 x 256 pixels \(height x width\), the model reads 224 x 224"),
        ({}, {"do_resize": False}, "'do_resize' is False; supported: True"),
        ({}, {"image_processor_type": "CLIPImageProcessor"}, "'CLIPImageProcessor' is not supported; there are: 'ViT'"),
        ({}, {"resample": 9}, "unknown filter of pixels 9"),
        ({}, {"size": "large"}, "'size' is 'large'; it must be a height and a width"),
        ({}, [], "holds no settings"),
        ({}, {"image_processor_type": "BitImageProcessor", "do_center_crop": False}, "keep their proportions"),
        ({"num_channels": 4}, {}, "images of 4 channels"),
        ({"patch_size": [4, 8]}, {}, r"'patch_size' is \[4, 8\]; supported: square"),
        (
            {"architecture": "vit_tiny_patch16_224", "pretrained_cfg": {"crop_mode": "border"}},
            {},
            "'crop_mode' is 'border'",
        ),
        ({"architecture": "vit_tiny_patch16_224", "pretrained_cfg": {"input_size": [3, 9, 9]}}, {}, "must be equal"),
        ({"architecture": "vit_tiny_patch16_224", "model_args": {"reg_tokens": 4}}, {}, "'reg_tokens' 4; supported: 0"),
        ({"architecture": "vit_tiny_patch16_224", "model_args": {"else": 4}}, {}, "'else', which is not supported"),
    ],
)
def test_what_is_not_supported_is_said(config: Any, processor: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Patches.read(folder_of(tmp_path, config, processor), config)
    assert "\n" not in str(caught.value)
