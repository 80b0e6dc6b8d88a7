from __future__ import annotations

import numpy as np
import pytest

from anyformer_vision.resize import fitted, mirror, resize

RNG = np.random.default_rng(8)
SIDES = [*RNG.integers(20, 2000, (200, 2)).tolist(), [480, 640], [800, 1333], [1333, 800], [640, 640], [16, 1600]]


def test_sizes_are_those_of_detr_and_yolos() -> None:
    pytest.importorskip("transformers")
    from transformers.image_transforms import get_size_with_aspect_ratio
    from transformers.models.yolos.image_processing_yolos import get_size_with_aspect_ratio_yolos

    for height, width in SIDES:
        for shortest, longest in ((800, 1333), (512, 864), (333, 500), (480, None)):
            given = f"{height} x {width} to {shortest}, {longest}"
            expected = get_size_with_aspect_ratio((height, width), shortest, longest)
            assert fitted(height, width, shortest, longest) == expected, given
            expected = get_size_with_aspect_ratio_yolos((height, width), shortest, longest)
            if min(expected):
                assert fitted(height, width, shortest, longest, multiple=16) == expected, given


def test_an_image_that_would_vanish_is_refused() -> None:
    with pytest.raises(
        ValueError, match="an image of 2000 x 10 pixels would become 500 x 2, less than 16 on a side; crop"
    ):
        fitted(10, 2000, 300, 500, multiple=16)


@pytest.mark.parametrize("channels", [1, 3])
def test_boxes_go_with_the_pixels(channels: int) -> None:
    pixels = np.zeros((40, 60, channels), np.uint8)
    pixels[10:20, 30:50] = 255
    box = np.array([[30.0, 10, 50, 20]])
    assert resize(pixels, box, 40, 60)[0] is pixels
    larger, boxes = resize(pixels, box, 80, 180)
    assert (larger.shape, larger.dtype) == ((80, 180, channels), np.uint8)
    assert boxes.tolist() == [[90, 20, 150, 40]]
    rows, columns = np.nonzero(larger[..., 0] > 127)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (90, 20, 150, 40)
    flipped, boxes = mirror(pixels, box)
    assert boxes.tolist() == [[10, 10, 30, 20]]
    rows, columns = np.nonzero(flipped[..., 0])
    assert (columns.min(), columns.max() + 1) == (10, 30)
    assert mirror(*mirror(pixels, box))[1].tolist() == box.tolist()
    assert mirror(pixels, box[:0])[1].shape == (0, 4)
