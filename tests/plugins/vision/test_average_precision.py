"""Average precision beside pycocotools, over random images of integer boxes: ties of scores and of overlaps are common."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest

from anyformer.metrics.bootstrap import interval
from anyformer_vision.average_precision import AveragePrecision
from anyformer_vision.boxes import Box, Boxes, Detections, Found

Images = list[tuple[Detections, Boxes]]


def random_images(rng: np.random.Generator, labels: list[str], digits: int = 2) -> Images:
    return [random_image(rng, labels, digits) for _ in range(int(rng.integers(1, 9)))]


def random_image(rng: np.random.Generator, labels: list[str], digits: int) -> tuple[Detections, Boxes]:
    truth, found = [], []
    for _ in range(int(rng.integers(0, 9))):
        low, size = rng.integers(0, 200, 2), rng.integers(1, rng.choice([60, 150]), 2)
        area = float(rng.integers(1, size.prod() + 1)) if rng.random() < 0.5 else None
        crowd = bool(rng.random() < 0.15)
        truth.append(Box(label=rng.choice(labels), box=(*low, *(low + size)), crowd=crowd, area=area))
        if rng.random() < 0.3:  # a twin beside it, and a detection between them that overlaps both alike
            steps, edges = np.array([4.0, 0, 4, 0]), np.array(truth[-1].box)
            truth.append(Box(label=truth[-1].label, box=tuple(edges + 2 * steps)))
            found.append(Found(label=truth[-1].label, score=1, box=tuple(edges + steps)))
    for true in truth:
        for _ in range(int(rng.integers(0, 4))):
            moved = np.array(true.box).reshape(2, 2) + (rng.random() < 0.8) * rng.integers(-12, 13, (2, 2))
            label = rng.choice(labels) if rng.random() < 0.2 else true.label
            found.append(Found(label=label, score=round(rng.random(), digits), box=tuple(np.sort(moved, 0).ravel())))
    if rng.random() < 0.1:  # more than count
        for _ in range(130):
            box = tuple(np.sort(rng.integers(0, 99, (2, 2)), 0).ravel())
            found.append(Found(label=labels[0], score=round(rng.random(), digits), box=box))
    return Detections(boxes=found), Boxes(boxes=truth)


def measured(metric: AveragePrecision, images: Images) -> np.ndarray:
    return np.array([metric.row(*image) for image in images])


def reference(images: Images, labels: list[str]) -> list[float]:
    """The first nine numbers of pycocotools; -1 where one is not defined."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def annotation(image: int, one: Any) -> dict[str, Any]:
        left, top, right, bottom = one.box
        bbox = [left, top, right - left, bottom - top]
        return {"image_id": image, "category_id": labels.index(one.label), "bbox": bbox, "area": bbox[2] * bbox[3]}

    true = [(place, one) for place, (_, truth) in enumerate(images) for one in truth.boxes]
    found = [annotation(place, one) | {"score": one.score} for place, (f, _) in enumerate(images) for one in f.boxes]
    sides = []
    annotations = [annotation(*one) | {"iscrowd": int(one[1].crowd)} for one in true]
    for value, (_, one) in zip(annotations, true, strict=True):
        value["area"] = value["area"] if one.area is None else one.area
    with contextlib.redirect_stdout(io.StringIO()):
        for boxes in (annotations, [one | {"iscrowd": 0} for one in found]):
            side = COCO()
            side.dataset = {
                "images": [{"id": place} for place in range(len(images))],
                "categories": [{"id": place} for place in range(len(labels))],
                "annotations": [
                    one | {"id": number} for number, one in enumerate(boxes, 1)
                ],  # 0 means "no match" there
            }
            side.createIndex()
            sides.append(side)
        judged = COCOeval(*sides, "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return judged.stats[:9].tolist()


def test_every_score_is_that_of_pycocotools() -> None:
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    seen = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        labels = [f"label {place}" for place in range(int(rng.integers(1, 6)))]
        images = random_images(rng, labels)
        metric = AveragePrecision(labels)
        scores = metric.scores(measured(metric, images))
        ours = [-1 if np.isnan(scores[name]) else scores[name] for name in metric.names]
        np.testing.assert_allclose(ours, reference(images, labels), rtol=0, atol=1e-12, err_msg=f"seed {seed}")
        seen.append(ours)
    columns = np.array(seen).T
    assert all(len(set(column)) > 12 for column in columns), "the fixtures do not tell the scores apart"
    assert (columns == -1).any(), "no fixture lacks a size"


def test_a_record_that_counts_twice_is_a_record_given_twice() -> None:
    labels, rng = ["a", "b"], np.random.default_rng(1)
    images = [random_image(rng, labels, digits=12) for _ in range(6)]
    metric = AveragePrecision(labels)
    rows = measured(metric, images)
    counts = rng.integers(0, 4, (5, 6)).astype(float)
    together = metric.weighted(rows, counts)
    for draw, count in enumerate(counts.astype(int)):
        alone = metric.scores(np.repeat(rows, count, axis=0))
        for name in metric.names:
            np.testing.assert_allclose(together[name][draw], alone[name], rtol=0, atol=1e-12, err_msg=name)
    low, high = interval(metric, rows, seed=0, draws=100)["ap"]
    assert low <= metric.scores(rows)["ap"] <= high
    assert low < high


def one_image(found: list[tuple[str, float, float]], truth: list[str]) -> tuple[Detections, Boxes]:
    """Boxes 10 high: true ones 10 wide, detections of a label, a score and a width."""
    boxes = [Found(label=label, score=score, box=(0, 0, width, 10)) for label, score, width in found]
    return Detections(boxes=boxes), Boxes(boxes=[Box(label=label, box=(0, 0, 10, 10)) for label in truth])


@pytest.mark.parametrize(
    ("found", "truth", "ap50", "ap75"),
    [
        ([("a", 0.9, 10)], ["a"], 1, 1),
        ([("a", 0.9, 6)], ["a"], 1, 0),
        ([("a", 0.9, 10), ("a", 0.8, 10)], ["a"], 1, 1),
        ([("a", 0.9, 1), ("a", 0.8, 10)], ["a"], 0.5, 0.5),
        ([("b", 0.9, 10)], ["a"], 0, 0),
        ([("a", 0.9, 10)], ["a", "b"], 0.5, 0.5),
        ([], ["a"], 0, 0),
        ([("a", 0.9, 10)], [], np.nan, np.nan),
        ([], [], np.nan, np.nan),
    ],
)
def test_scores_by_hand(found: list[Any], truth: list[str], ap50: float, ap75: float) -> None:
    metric = AveragePrecision(["a", "b"])
    scores = metric.scores(measured(metric, [one_image(found, truth)]))
    np.testing.assert_allclose([scores["ap50"], scores["ap75"]], [ap50, ap75], atol=1e-12)


def test_an_unknown_label_is_said() -> None:
    with pytest.raises(ValueError, match=r"unknown label 'dogg' \(did you mean 'dog'\?\); the labels are 'cat', 'dog'"):
        AveragePrecision(["cat", "dog"]).row(*one_image([], ["dogg"]))
