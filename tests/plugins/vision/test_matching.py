from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from anyformer.nn.pack import Pack, Part, Stream
from anyformer_vision.detection_head import DetectionHead
from anyformer_vision.matching import corners, generalized_iou, match

QUERIES, LABELS, WIDTH = 12, 5, 16
COUNTS = [3, 0, 12, 1]
"""Objects of each image: none, and as many as there are queries, among them."""


@pytest.fixture
def drawn(unit_scale: Any) -> tuple[DetectionHead, dict[str, Stream], dict[str, Part]]:
    """A head, the streams it reads and the targets, in float64."""
    generator = torch.Generator().manual_seed(1)
    head = DetectionHead(WIDTH, LABELS, QUERIES, "target", class_layers=3).double()
    unit_scale(head, seed=2)
    pack = Pack.of([QUERIES] * len(COUNTS))
    x_TD = 3 * torch.randn(pack.num_tokens, WIDTH, generator=generator, dtype=torch.float64)
    objects = Pack.of(COUNTS)
    classes = torch.randint(LABELS, (objects.num_tokens,), generator=generator)
    boxes = torch.rand(objects.num_tokens, 4, generator=generator, dtype=torch.float64) * 0.5 + 0.1
    return head, {"target": Stream(x_TD, pack)}, {"classes": Part(classes, objects), "boxes": Part(boxes, objects)}


def theirs(logits: Tensor, boxes: Tensor, classes: list[Tensor], objects: list[Tensor]) -> dict[str, Tensor]:
    """The loss of the reference, and its terms."""
    from transformers.loss.loss_for_object_detection import ForObjectDetectionLoss

    settings = SimpleNamespace(
        class_cost=1, bbox_cost=5, giou_cost=2, num_labels=LABELS, eos_coefficient=0.1, auxiliary_loss=False,
        bbox_loss_coefficient=5, giou_loss_coefficient=2,
    )  # fmt: skip
    labels = [{"class_labels": c, "boxes": b} for c, b in zip(classes, objects, strict=True)]
    torch.set_default_dtype(torch.float64)  # their class weights are of the default type
    try:
        loss, terms, _ = ForObjectDetectionLoss(logits, labels, torch.device("cpu"), boxes, settings)
    finally:
        torch.set_default_dtype(torch.float32)
    return {"loss": loss, **terms}


@pytest.mark.parametrize("images", [[0], [2], [3], [0, 1, 2, 3]])
def test_the_loss_is_that_of_the_reference(drawn: Any, images: list[int]) -> None:
    pytest.importorskip("transformers")
    head, streams, targets = drawn
    x = streams["target"].x_TD.unflatten(0, (-1, QUERIES))[images]
    streams = {"target": Stream(x.flatten(0, 1), Pack.of([QUERIES] * len(images)))}
    split = {name: [part.pack.split(part.values)[image] for image in images] for name, part in targets.items()}
    pack = Pack.of([len(each) for each in split["classes"]])
    targets = {name: Part(torch.cat(values), pack) for name, values in split.items()}

    sums, weights = head.loss(streams, targets), head.weigh(targets)
    found = {name: float(value.detach() / weights[name]) for name, value in sums.items()}
    logits, boxes = (each.unflatten(0, (len(images), QUERIES)) for each in head(streams))
    true = theirs(logits, boxes, split["classes"], split["boxes"])
    assert found["classes"] == pytest.approx(true["loss_ce"].item(), rel=1e-10)
    assert found["distance"] == pytest.approx(5 * true["loss_bbox"].item(), rel=1e-10)
    assert found["overlap"] == pytest.approx(2 * true["loss_giou"].item(), rel=1e-10)
    assert sum(found.values()) == pytest.approx(true["loss"].item(), rel=1e-10)


def test_sums_of_images_add_up(drawn: Any) -> None:
    head, streams, targets = drawn
    whole, weights = head.loss(streams, targets), head.weigh(targets)
    for name in whole:
        loss, weight = 0.0, 0.0
        for image, rows in enumerate(streams["target"].pack.split(streams["target"].x_TD)):
            pack = Pack.of([COUNTS[image]])
            mine = {key: Part(part.pack.split(part.values)[image], pack) for key, part in targets.items()}
            loss += head.loss({"target": Stream(rows, Pack.of([QUERIES]))}, mine)[name].item()
            weight += float(head.weigh(mine)[name])
        assert loss == pytest.approx(whole[name].item(), rel=1e-12)
        assert weight == pytest.approx(float(weights[name]), rel=1e-12)


def test_an_image_without_objects_has_a_gradient_of_its_classes_alone(drawn: Any) -> None:
    head, streams, _ = drawn
    pack = Pack.of([0] * len(COUNTS))
    targets = {"classes": Part(torch.zeros(0, dtype=torch.int64), pack), "boxes": Part(torch.zeros(0, 4), pack)}
    sums = head.loss(streams, targets)
    assert {name: float(value.detach()) for name, value in sums.items() if name != "classes"} == {
        "distance": 0, "overlap": 0
    }  # fmt: skip
    sum(sums.values()).backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in head.classes.parameters())
    assert not any(bool(p.grad.abs().sum() > 0) for p in head.boxes.parameters())


def test_the_best_assignment_is_not_the_greedy_one() -> None:
    boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.55, 0.5, 0.2, 0.2], [0.9, 0.9, 0.1, 0.1]]])
    objects = torch.tensor([[0.53, 0.5, 0.2, 0.2], [0.6, 0.5, 0.2, 0.2]])
    # Query 1 is nearest to both objects; it goes to the second, and the first is left to query 0.
    rows, columns = match(torch.zeros(1, 3, 2), boxes, torch.tensor([0, 0]), objects, [2])
    assert dict(zip(rows.tolist(), columns.tolist(), strict=True)) == {0: 0, 1: 1}


def test_predictions_that_are_no_numbers_are_matched_last() -> None:
    boxes = torch.full((1, 3, 4), torch.nan)
    boxes[0, 2] = 0.4
    rows, _ = match(torch.zeros(1, 3, 2), boxes, torch.tensor([0]), torch.full((1, 4), 0.5), [1])
    assert rows.tolist() == [2]
    boxes[0, 2] = torch.nan
    assert len(match(torch.zeros(1, 3, 2), boxes, torch.tensor([0]), torch.full((1, 4), 0.5), [1])[0]) == 1


def test_generalized_iou_of_boxes_that_do_not_meet() -> None:
    a, b = torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([2.0, 0.0, 3.0, 1.0])
    assert generalized_iou(a, b).item() == pytest.approx(-1 / 3)
    assert generalized_iou(a, a).item() == 1.0
    assert corners(torch.tensor([0.5, 0.5, 1.0, 0.5])).tolist() == [0.0, 0.25, 1.0, 0.75]


def test_boxes_are_not_rounded_to_bf16() -> None:
    head = DetectionHead(WIDTH, LABELS, QUERIES, "target")
    streams = {"target": Stream(torch.randn(QUERIES, WIDTH), Pack.of([QUERIES]))}
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits, boxes = head(streams)
    assert (logits.dtype, boxes.dtype) == (torch.bfloat16, torch.float32)
    with torch.no_grad():
        assert torch.equal(boxes, head(streams)[1])
