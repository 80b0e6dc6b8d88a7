"""The loss of every block, beside a sum made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from anyformer.artifact import build_model
from anyformer.data.packs import collate
from anyformer.nn import Model
from anyformer.nn.config import Attention, Position, Stack, Trunk
from anyformer.task import Array, Sample
from anyformer_vision.detection_head import NO_OBJECT_WEIGHT, DetectionHead
from anyformer_vision.detection_tokenizer import Pixels
from anyformer_vision.matching import DISTANCE_COST, OVERLAP_COST, corners, generalized_iou, match
from anyformer_vision.object_detection import ObjectDetection

ID = "vision/object-detection"
COUNTS = (2, 0, 3)


def model_of(decoder: bool, **config: Any) -> Model:
    """A small model of four queries."""
    stack = Stack(width=16, depth=3, attention=Attention(heads=4), position=Position(kind="none"))
    trunk = Trunk(encoder=stack, decoder=stack.model_copy(update={"cross": True}) if decoder else None)
    task = ObjectDetection(
        ObjectDetection.Config(num_queries=4, backbone="resnet10t", grid=(2, 3), **config),
        {"image": Pixels(Pixels.Config())}, {"labels": ["cat", "dog"]},
    )  # fmt: skip
    torch.manual_seed(0)
    return build_model(trunk, {ID: task})


def samples() -> list[Sample]:
    """Three images, with two, no and three objects."""
    rng = np.random.default_rng(0)
    found = []
    for count in COUNTS:
        parts: dict[str, Array] = {
            "pixels": rng.normal(size=(32 * 48, 3)).astype(np.float32),
            "size": np.array([[32, 48]]),
        }
        boxes = rng.uniform(0.2, 0.5, (count, 4)).astype(np.float32)
        targets: dict[str, Array] = {"classes": rng.integers(0, 2, count), "boxes": boxes}
        found.append(Sample(parts, targets))
    return found


@torch.no_grad()
@pytest.mark.parametrize("decoder", [True, False])
def test_every_block_is_taught_by_the_same_loss(decoder: bool) -> None:
    model = model_of(decoder, teach_every_block=True)
    parts, targets = collate(samples())
    head = model[ID].head
    assert isinstance(head, DetectionHead)
    streams = model.trunk(model[ID].embedding(parts), deep=True)
    stream = streams[head.stream]
    assert len(stream.earlier) == 2

    classes, objects = targets["classes"].values, targets["boxes"].values
    expected = dict.fromkeys(("classes", "distance", "overlap"), 0.0)
    for x_TD in (*stream.earlier, stream.x_TD):
        logits, boxes = head({head.stream: replace(stream, x_TD=x_TD)})
        rows, columns = match(logits.view(3, 4, 3), boxes.view(3, 4, 4), classes, objects, COUNTS)
        answers = dict(zip(rows.tolist(), columns.tolist(), strict=True))
        for query in range(12):
            label = int(classes[answers[query]]) if query in answers else 2
            weight = 1.0 if query in answers else NO_OBJECT_WEIGHT
            expected["classes"] -= weight * float(F.log_softmax(logits[query], -1)[label])
        for query, place in answers.items():
            box, true = boxes[query], objects[place]
            expected["distance"] += DISTANCE_COST * float((box - true).abs().sum())
            expected["overlap"] += OVERLAP_COST * (1 - float(generalized_iou(corners(box), corners(true))))
    found = model(parts, targets, ID)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
def test_only_the_last_block_is_taught_unless_asked() -> None:
    parts, targets = collate(samples())
    last, every = (model_of(True, teach_every_block=asked)(parts, targets, ID) for asked in (False, True))
    assert all(float(last[name]) < float(every[name]) for name in last)


def test_teaching_every_block_changes_no_answer_and_no_weight() -> None:
    parts, _ = collate(samples())
    models = [model_of(True, teach_every_block=asked).eval() for asked in (False, True)]
    assert models[0].state_dict().keys() == models[1].state_dict().keys()
    with torch.inference_mode():
        answers = [model[ID].head(model.encode(parts, ID)) for model in models]
    assert all(torch.equal(one, other) for one, other in zip(*answers, strict=True))
