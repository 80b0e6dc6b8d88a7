from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from anyformer.media import Image
from anyformer_vision.tokenizers import Patches

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (6, 12, 8), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 12, 8, 3), dtype=np.uint8)


def fitted(corpus: Any, **config: Any) -> Patches:
    tokenizer = Patches(Patches.Config(**config))
    tokenizer.fit(corpus, np.random.default_rng(0))
    return tokenizer


@pytest.mark.parametrize(("images", "mode", "width"), [(GREY, "L", 16), (COLOUR, "RGB", 48)])
def test_patches_and_back_are_the_same_pixels(images: Any, mode: str, width: int) -> None:
    tokenizer = fitted(images)
    assert (tokenizer.fitted.mode, tokenizer.fitted.size) == (mode, (12, 8))
    assert (tokenizer.num_patches, tokenizer.patch_width) == (6, width)
    for image in images:
        patches = tokenizer.encode(image)["patches"]
        assert (patches.shape, patches.dtype) == ((6, width), np.float32)
        np.testing.assert_array_equal(tokenizer.decode(patches), image)


def test_patches_run_row_by_row_with_channels_innermost() -> None:
    tokenizer = fitted(COLOUR, size=(12, 8), mode="RGB", mean=(0, 0, 0), std=(1, 1, 1))
    patches = tokenizer.encode(COLOUR[0])["patches"]
    np.testing.assert_array_equal(patches[1], COLOUR[0, :4, 4:8].reshape(-1))
    np.testing.assert_array_equal(patches[2], COLOUR[0, 4:8, :4].reshape(-1))


@pytest.mark.parametrize("images", [GREY, COLOUR])
def test_mean_and_deviation_equal_numpys_over_the_corpus(images: Any) -> None:
    tokenizer = fitted(iter(images))
    wide = images.astype(np.float64)
    np.testing.assert_allclose(tokenizer.fitted.mean, np.atleast_1d(wide.mean((0, 1, 2))), rtol=1e-12)
    np.testing.assert_allclose(tokenizer.fitted.std, np.atleast_1d(wide.std((0, 1, 2))), rtol=1e-12)
    patches = np.stack([tokenizer.encode(image)["patches"] for image in images])
    np.testing.assert_allclose([patches.mean(), patches.std()], [0, 1], atol=1e-5)


def test_auto_is_grey_only_if_every_image_is() -> None:
    coloured_file = np.repeat(GREY[..., None], 3, axis=3)
    assert fitted(coloured_file).fitted == fitted(GREY).fitted
    assert fitted([*coloured_file, COLOUR[0]]).fitted.mode == "RGB"
    assert fitted(COLOUR, mode="L").patch_width == 16


def test_constant_images_are_left_unscaled() -> None:
    tokenizer = fitted([np.full((8, 8), 7, np.uint8)])
    assert tokenizer.fitted.std == (1.0,)
    assert not tokenizer.encode(np.full((8, 8), 7, np.uint8))["patches"].any()


def test_crop_keeps_proportions_and_stretch_keeps_everything() -> None:
    halves = np.zeros((8, 16), np.uint8)
    halves[:, :4], halves[:, 12:] = 100, 200
    cropped, stretched = (fitted([halves], size=8, resize=policy).pixels(halves) for policy in ("crop", "stretch"))
    assert cropped.shape == stretched.shape == (8, 8, 1)
    assert not cropped.any()
    assert (stretched[0, 0, 0], stretched[0, 7, 0]) == (100, 200)
    thin = RNG.integers(0, 256, (1, 5000), dtype=np.uint8)
    assert fitted([thin], size=(4, 8)).pixels(thin).shape == (4, 8, 1)


def test_fixed_settings_need_no_images() -> None:
    tokenizer = fitted((), size=8, mode="L", mean=(10,), std=(2,))
    assert tokenizer.encode(np.full((8, 8), 14, np.uint8))["patches"].tolist() == [[2.0] * 16] * 4


def test_saved_and_loaded_it_says_the_same_bit_for_bit(tmp_path: Path) -> None:
    tokenizer = fitted(COLOUR)
    tokenizer.save(tmp_path)
    loaded = Patches(tokenizer.config)
    loaded.load(tmp_path)
    assert loaded.patch_width == tokenizer.patch_width
    np.testing.assert_array_equal(loaded.encode(COLOUR[0])["patches"], tokenizer.encode(COLOUR[0])["patches"])


@pytest.mark.parametrize(
    ("corpus", "config", "message"),
    [
        ([], {}, "there is no image to learn from"),
        ([GREY[0], GREY[0, :8]], {}, r"differ in size \(12 x 8 and 8 x 8, height x width\); set the tokenizer's size"),
        (
            [np.zeros((80, 64), np.uint8)],
            {},
            r"images are 80 x 64 \(height x width\), too large .* for example size=64",
        ),
        ([np.zeros((30, 28), np.uint8)], {}, "size of the training images is 30 x 28 .* patches of 4 x 4 do not fill"),
        ([], {"size": 30}, "size is 30 x 30 .* set size to multiples of patch"),
        ([], {"size": 0}, "size is 0 x 0"),
        ([], {"size": 2**20}, "at most 4096"),
        ([], {"mean": [1]}, "mean and std are fixed together"),
        ([], {"mean": [1], "std": [1]}, "a fixed mean and std need mode L with 1 value each, or mode RGB with 3"),
        ([], {"mode": "RGB", "mean": [1], "std": [1]}, "mode RGB with 3"),
        ([], {"mode": "L", "mean": [1], "std": [0]}, r"std must be above 0; got \[0.0\]"),
    ],
)
def test_what_cannot_be_is_said(corpus: Any, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(corpus, **config)


@pytest.mark.parametrize("raw", [b"not an image", b"", "A" * 100, "no.png", 7, np.zeros((3, 3))])
def test_what_is_no_image_is_refused_in_one_line(raw: Any) -> None:
    with pytest.raises(ValueError, match="image") as caught:
        fitted(GREY).encode(raw)
    assert "\n" not in str(caught.value)


def test_files_of_every_mode_become_patches() -> None:
    tokenizer = fitted(GREY)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"):
        buffer = io.BytesIO()
        PIL.Image.new(mode, (9, 5)).save(buffer, "TIFF")
        assert tokenizer.encode(Image.of(buffer.getvalue()))["patches"].shape == (6, 16)
