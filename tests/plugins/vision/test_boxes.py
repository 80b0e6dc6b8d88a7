from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from anyformer.task import explain
from anyformer_vision.boxes import Box, Boxes, Detections, Found, areas, clip, corners, iou, to_center, to_corners
from anyformer_vision.draw_boxes import MAX_BOXES, draw_boxes

RNG = np.random.default_rng(3)


def some(count: int) -> np.ndarray:
    low = RNG.uniform(0, 50, (count, 2))
    return np.concatenate([low, low + RNG.uniform(1, 40, (count, 2))], axis=1)


def test_iou_is_that_of_torchvision() -> None:
    import torch
    from torchvision.ops import box_iou

    a, b = some(7), some(5)
    expected = box_iou(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    np.testing.assert_allclose(iou(a, b), expected, rtol=1e-12)
    assert (expected > 0).any()
    assert (expected == 0).any()


def test_boxes_without_area_overlap_by_nothing() -> None:
    flat = np.array([[3.0, 3, 3, 9], [3, 3, 3, 9], [0, 0, 9, 9]])
    assert iou(flat, flat).tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert iou(flat[:0], flat).shape == (0, 3)
    assert corners([]).shape == (0, 4)


def test_centre_and_corners_are_inverse_and_clip_cuts() -> None:
    boxes = some(6)
    np.testing.assert_allclose(to_corners(to_center(boxes)), boxes, rtol=1e-12)
    assert to_center(np.array([10.0, 20, 14, 30])).tolist() == [12, 25, 4, 10]
    assert clip(np.array([[-1.0, -2, 30, 40]]), height=20, width=25).tolist() == [[0, 0, 25, 20]]
    np.testing.assert_allclose(areas(boxes), to_center(boxes)[:, 2:].prod(axis=1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"box": [5, 0, 4, 1]}, "'box': a box is x0, y0, x1, y1 with x0 <= x1 and y0 <= y1; got 5, 0, 4, 1"),
        ({"box": [0, 5, 1, 4]}, "with x0 <= x1 and y0 <= y1; got 0, 5, 1, 4"),
        ({"box": [0, 0, float("nan"), 1]}, "'box.2': Input should be a finite number"),
        ({"box": [0, 0, float("inf"), 1]}, "'box.2': Input should be a finite number"),
        ({"box": [0, 0, 1]}, "'box.3' is missing"),
        ({"label": ""}, "'label': String should have at least 1 character"),
        ({"area": -1}, "'area': Input should be greater than or equal to 0"),
    ],
)
def test_what_is_no_box_is_said(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Box.model_validate({"label": "dog", "box": [0, 0, 1, 1]} | fields)
    assert message in explain(caught.value)


def test_detections_are_sorted_and_survive_json() -> None:
    boxes = [Found(label=label, score=score, box=(0, 0, 1, 2)) for label, score in (("a", 0.2), ("b", 0.9), ("c", 0.2))]
    found = Detections(boxes=boxes)
    assert [one.label for one in found.boxes] == ["b", "a", "c"]
    assert Detections.model_validate_json(found.model_dump_json()) == found
    truth = Boxes(boxes=[Box(label="a", box=(0, 0, 1, 2), crowd=True, area=1.5)])
    assert Boxes.model_validate_json(truth.model_dump_json()) == truth


def test_a_picture_has_every_box_the_truth_dashed() -> None:
    pixels = np.zeros((60, 1000, 3), np.uint8)
    truth = [Box(label="$x$", box=(0, 0, 900, 50)), Box(label="y", box=(5, 5, 9, 9), crowd=True)]
    found = [Found(label=f"a{place}", score=0.5, box=(place, 1, place + 9, 30)) for place in range(MAX_BOXES + 1)]
    figure = draw_boxes(pixels, found, truth)
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    drawn = figure.axes[0].patches
    assert sorted(patch.get_linestyle() for patch in drawn) == ["-"] * MAX_BOXES + ["--", ":"]
    assert drawn[0].get_bbox().bounds == (0, 0, 900, 50)
    assert figure.axes[0].get_title() == f"the {MAX_BOXES} surest of {MAX_BOXES + 1} found, 2 true (dashed)"
    assert draw_boxes(pixels, [], None).axes[0].get_title() == "0 found"
