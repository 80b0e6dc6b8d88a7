from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from anyformer import api
from anyformer.data.packs import collate
from anyformer.nn.config import Attention, Position, Stack, Trunk
from anyformer.task import Prediction, Record
from anyformer.train.drawing import Drawn
from anyformer.train.prepare import new_model, new_task, task_settings
from anyformer_vision.boxes import Boxes, Photo
from anyformer_vision.detection_tokenizer import Pixels
from anyformer_vision.object_detection import ObjectDetection

ID = "vision/object-detection"
STACK: dict[str, Any] = {
    "width": 32, "depth": 2, "attention": {"heads": 2}, "position": {"kind": "none"}, "norm": {"place": "post"},
}  # fmt: skip
DETR = {"encoder": STACK, "decoder": {**STACK, "cross": True, "norm": {"place": "post", "final": True}}}


def bound(state: dict[str, Any] | None = None, pixels: dict[str, Any] | None = None, **config: Any) -> ObjectDetection:
    """The task as training binds it, or with another state."""
    tokenizer = Pixels(Pixels.Config(**(pixels or {})))
    task = ObjectDetection(ObjectDetection.Config(**config), {"image": tokenizer}, state)
    if state is None:
        task.state = task.fit(task.records(ObjectDetection.examples()))
    return task


def record(*boxes: dict[str, Any], size: tuple[int, int] = (40, 80)) -> Record[Photo, Boxes]:
    """An image whose columns tell where they are, and its boxes."""
    image = np.zeros((*size, 3), np.uint8)
    image[:, :, 0] = np.arange(size[1])
    return Record(Photo(image=image), Boxes(boxes=boxes))


RED = {"label": "red", "box": [8, 10, 24, 40]}


def test_learn_gives_pixels_classes_and_relative_boxes() -> None:
    task = bound(flip=False, pixels={"multiple": 8})
    (sample,) = task.learn(record(RED, {"label": "blue", "box": [70, 0, 90, 20]}), np.random.default_rng(0))
    assert sample.parts["pixels"].shape == (40 * 80, 3)
    assert sample.parts["size"].tolist() == [[40, 80]]
    assert sample.targets["classes"].tolist() == [1, 0]
    # The second box reaches over the edge, and is cut there.
    np.testing.assert_allclose(sample.targets["boxes"], [[0.2, 0.625, 0.2, 0.75], [0.9375, 0.25, 0.125, 0.5]])
    mean, std = task.tokens["image"].config.mean[0], task.tokens["image"].config.std[0]
    np.testing.assert_allclose(sample.parts["pixels"][7, 0] * std + mean, 7, rtol=1e-5)


def test_a_mirrored_image_has_mirrored_boxes() -> None:
    task = bound(pixels={"multiple": 8})
    centres = set()
    for seed in range(8):
        (sample,) = task.learn(record(RED), np.random.default_rng(seed))
        first = sample.parts["pixels"][0, 0] < sample.parts["pixels"][1, 0]
        centres.add((bool(first), round(float(sample.targets["boxes"][0, 0]), 4)))
    assert centres == {(True, 0.2), (False, 0.8)}


def test_jitter_only_shrinks_and_leaves_relative_boxes() -> None:
    task = bound(flip=False, jitter=0.5, pixels={"multiple": 8})
    sizes = set()
    for seed in range(20):
        (sample,) = task.learn(record(RED), np.random.default_rng(seed))
        np.testing.assert_allclose(sample.targets["boxes"], [[0.2, 0.625, 0.2, 0.75]])
        sizes.add(tuple(sample.parts["size"][0].tolist()))
    assert len(sizes) > 2
    assert all(height in (16, 24, 32, 40) and 40 <= width <= 80 for height, width in sizes)


def test_crowds_are_not_learned_and_an_image_may_be_empty() -> None:
    task = bound(pixels={"multiple": 8})
    rng = np.random.default_rng(0)
    samples = task.learn(record({**RED, "crowd": True}), rng) + task.learn(record(), rng)
    _, targets = collate(samples)
    assert targets["classes"].pack.lengths == [0, 0]
    assert (targets["classes"].values.shape, targets["boxes"].values.shape) == ((0,), (0, 4))


def test_what_cannot_be_learned_is_said() -> None:
    task, rng = bound(num_queries=1), np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"an image has 2 objects, and the model 1 queries; set config.num_queries to"):
        task.learn(record(RED, RED), rng)
    with pytest.raises(ValueError, match=r"unknown label 'rad' \(did you mean 'red'\?\); training saw: 'blue', 'red'"):
        task.learn(record({**RED, "label": "rad"}), rng)
    with pytest.raises(ValueError, match="the training data has no box; a detector needs one or more"):
        task.fit([record()])


def test_answers_are_those_of_the_reference() -> None:
    transformers = pytest.importorskip("transformers")
    import torch

    task, image = bound({"labels": ["a", "b", "c"]}), record(size=(48, 96)).input
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(10, 4)).astype(np.float32)
    boxes = rng.uniform(0.3, 0.6, (10, 4)).astype(np.float32)  # all within the image
    (sample,) = task.encode(image, task.Options())
    found = task.decode(image, [sample], [Prediction({"logits": logits, "boxes": boxes})], task.Options(threshold=0.3))
    outputs = SimpleNamespace(logits=torch.from_numpy(logits)[None], pred_boxes=torch.from_numpy(boxes)[None])
    processor = transformers.DetrImageProcessor()
    (true,) = processor.post_process_object_detection(outputs, threshold=0.3, target_sizes=[(48, 96)])
    order = true["scores"].argsort(descending=True)
    assert 2 < len(order) < 10
    assert [box.label for box in found.boxes] == ["abc"[index] for index in true["labels"][order]]
    np.testing.assert_allclose([box.score for box in found.boxes], true["scores"][order], rtol=1e-5)
    np.testing.assert_allclose([box.box for box in found.boxes], true["boxes"][order], rtol=1e-5)


def test_an_answer_has_the_surest_boxes_within_the_image() -> None:
    task, image = bound({"labels": ["a"]}), record(size=(48, 96)).input
    (sample,) = task.encode(image, task.Options())
    values = {
        "logits": np.array([[0, 0], [2, 0], [1, 0]], np.float32),
        "boxes": np.array([[0.5, 0.5, 1, 1], [0, 0, 0.5, 0.5], [1, 1, 0.5, 0.5]], np.float32),
    }
    found = task.decode(image, [sample], [Prediction(values)], task.Options(top=2))
    assert [box.box for box in found.boxes] == [(0, 0, 24, 12), (72, 36, 96, 48)]
    assert len(task.decode(image, [sample], [Prediction(values)], task.Options()).boxes) == 3


def test_the_mean_box_of_a_label_is_relative_to_the_image() -> None:
    task = bound({})
    rows = [record(RED), record(RED, {"label": "red", "box": [24, 10, 40, 40]}), record()]
    task.state = task.fit(rows)
    assert task.state["labels"] == ["red"]
    (found,) = task.baselines()["mean_boxes"](record(size=(80, 80)).input).boxes
    # The mean of 0.2, 0.2 and 0.4 along the width.
    np.testing.assert_allclose(found.box, (80 * (0.8 / 3 - 0.1), 20, 80 * (0.8 / 3 + 0.1), 80))
    assert found.score == pytest.approx(2 / 3)
    assert task.baselines()["nothing"](rows[0].input).boxes == []


def test_baselines_work_without_statistics() -> None:
    task = bound({"labels": ["cat", "dog"]})
    found = task.baselines()["mean_boxes"](record(size=(40, 80)).input).boxes
    assert [(box.label, box.box) for box in found] == [("cat", (0, 0, 80, 40)), ("dog", (0, 0, 80, 40))]


def trunk(**decoder: Any) -> Trunk:
    """An encoder and a decoder."""
    common: dict[str, Any] = {
        "width": 16,
        "depth": 1,
        "attention": Attention(heads=2),
        "position": Position(kind="none"),
    }
    return Trunk(encoder=Stack(**common), decoder=Stack(**common, **decoder) if decoder else None)


def test_a_model_that_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match=r"config.patch is 7, and sides of images are multiples of 16; set tokenizers"):
        bound(patch=7).embedding(trunk())
    for wrong in ({"cross": True, "causal": True}, {"cross": False}):
        with pytest.raises(
            ValueError, match="a decoder of object queries is not causal and attends to the encoder; set"
        ):
            bound().embedding(trunk(**wrong))
    with pytest.raises(ValueError, match="'resnet10t', 'resnet18'"):
        ObjectDetection.Config(backbone="vit")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"size": (30, 32)}, "size is 30 x 32 .height x width.; set it to multiples of 16 .multiple., at most 4096"),
        ({"multiple": 600}, "multiple is 600, more than longest, 512; set a smaller one"),
        ({"std": (1, 0, 1)}, "std must be above 0"),
    ],
)
def test_a_tokenizer_that_cannot_work_is_refused(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Pixels.Config(**config)


def test_sizes_and_pixels_are_those_of_the_reference() -> None:
    transformers = pytest.importorskip("transformers")
    from transformers.image_transforms import get_size_with_aspect_ratio

    rng = np.random.default_rng(0)
    tokenizer = Pixels(Pixels.Config(shortest=800, longest=1333, multiple=1))
    for height, width in rng.integers(200, 2000, (300, 2)).tolist():
        assert tokenizer.size(height, width) == get_size_with_aspect_ratio((height, width), 800, 1333)
    image = rng.integers(0, 256, (45, 70, 3), dtype=np.uint8)
    processor = transformers.DetrImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 48})
    true = processor(images=image, return_tensors="np", do_pad=False)["pixel_values"][0]
    found = Pixels(Pixels.Config(shortest=32, longest=48, multiple=1)).encode(image)
    np.testing.assert_allclose(found["pixels"], np.asarray(true).transpose(1, 2, 0).reshape(-1, 3), atol=1e-5)


def test_an_image_is_not_made_larger_unless_asked() -> None:
    assert Pixels(Pixels.Config()).size(50, 70) == (48, 64)
    assert Pixels(Pixels.Config()).size(2000, 1000) == (512, 256)
    assert Pixels(Pixels.Config(size=(32, 64))).size(2000, 1000) == (32, 64)


def test_detr_learns_and_is_saved(tmp_path: Path) -> None:
    rows = ObjectDetection.examples()
    settings = {
        "trunk": DETR,
        "config": {"backbone": "resnet10t", "num_queries": 6},
        "training": {"steps": 2, "records": 4, "device": "cpu", "save_every": None, "log_every": 1},
    }
    run = api.finetune(ID, data=rows, valid="none", out=tmp_path / "run", settings=settings)
    detect = api.pipeline(ID, model=run.model)
    together = detect([{"image": row["image"]} for row in rows])
    assert all(len(answer.boxes) == 6 for answer in together)
    for row, answer in zip(rows, together, strict=True):
        alone = detect({"image": row["image"]})
        np.testing.assert_allclose([b.score for b in answer.boxes], [b.score for b in alone.boxes], rtol=1e-4)


def test_the_gradient_of_detr_does_not_depend_on_how_a_step_is_cut() -> None:
    import torch

    from anyformer.testing.subject import Small

    rows = ObjectDetection.examples()
    settings = task_settings(ObjectDetection, [{"trunk": DETR, "config": {"backbone": "resnet10t", "num_queries": 6}}])
    task = new_task(ObjectDetection, settings, rows, None)
    small = Small(ID, new_model({ID: task}, settings, None)[0], rows)
    model = small.artifact.model.double().eval()
    gradients = []
    for tokens in (1, 10**9):
        model.zero_grad()
        small.engine(tokens=tokens).gradient([Drawn(small.samples)])
        gradients.append({name: weight.grad.clone() for name, weight in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient.abs().sum() > 0 or "decoder.blocks.0.attention" in name, name  # it reads zeros
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-9, atol=1e-11)


def test_a_picture_shows_what_is_surer_than_not() -> None:
    task = bound()
    photo = record(RED).input
    found = [{"label": "red", "score": score, "box": [0, 0, 9, 9]} for score in (0.9, 0.5, 0.49)]
    assert task.draw(photo, task.Output(boxes=found)).axes[0].get_title() == "2 found"
