from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from anyformer.task import Prediction
from anyformer_vision.image_classification import ImageClassification
from anyformer_vision.tokenizers import Patches


def bound(rows: Any, **config: Any) -> tuple[ImageClassification, Any]:
    """The task as training binds it: tokenizer fitted first, then the state."""
    tokenizer = Patches(Patches.Config())
    task = ImageClassification(ImageClassification.Config(**config), {"image": tokenizer})
    records = task.records(rows)
    tokenizer.fit(task.corpus("image", records), np.random.default_rng(0))
    task.state = task.fit(records)
    return task, records


@pytest.fixture
def task() -> ImageClassification:
    return bound(ImageClassification.examples())[0]


@pytest.fixture
def records() -> Any:
    return bound(ImageClassification.examples())[1]


def test_encode_and_learn_give_patches_and_the_label(task: ImageClassification, records: Any) -> None:
    for record in records:
        (asked,) = task.encode(record.input, task.Options())
        assert (asked.parts["source"].shape, asked.targets, asked.cost) == ((16, 16), {}, 16)
        (taught,) = task.learn(record, np.random.default_rng(0))
        (again,) = task.learn(record, np.random.default_rng(0))
        np.testing.assert_array_equal(taught.parts["source"], again.parts["source"])
        assert (taught.parts["source"].shape, taught.parts["source"].dtype) == ((16, 16), np.float32)
        assert task.state["labels"][taught.targets["label"].item()] == record.target.label


def test_without_augmentation_learn_sees_what_encode_sees() -> None:
    task, records = bound(ImageClassification.examples(), augmentation={"flip": False, "shift": 0, "erase": 0})
    (asked,), (taught,) = task.encode(records[0].input, None), task.learn(records[0], np.random.default_rng(0))
    np.testing.assert_array_equal(asked.parts["source"], taught.parts["source"])


def test_rows_of_arrays_may_use_the_plural() -> None:
    images = np.stack([row["image"] for row in ImageClassification.examples()])
    rows = [{"images": image, "labels": np.uint8(place % 2)} for place, image in enumerate(images)]
    task, records = bound(rows)
    assert task.state["labels"] == ["0", "1"]
    assert [record.target.label for record in records[:3]] == ["0", "1", "0"]
    np.testing.assert_array_equal(records[1].input.image.pixels("L"), images[1])


def test_state_counts_and_means_equal_numpys(task: ImageClassification) -> None:
    rows = ImageClassification.examples()
    lying = np.stack([row["image"] for row in rows if row["label"] == "lying"])
    assert task.state["labels"] == ["lying", "standing"]
    assert task.state["counts"].tolist() == [4, 4]
    np.testing.assert_allclose(task.state["means"][0, ..., 0], lying.mean(0), rtol=1e-6)


def test_large_images_are_reduced_for_the_means() -> None:
    rng = np.random.default_rng(0)
    rows = [{"image": rng.integers(0, 256, (64, 48, 3), dtype=np.uint8), "label": label} for label in "aabb"]
    task, _ = bound(rows)
    assert task.state["means"].shape == (2, 32, 24, 3)
    assert task.baselines()["nearest_mean"](task.Input(image=rows[0]["image"])).label == "a"


def test_decode_orders_labels_by_probability(task: ImageClassification, records: Any) -> None:
    prediction = Prediction({"logits": np.log(np.float32([0.25, 0.75]))})
    output = task.decode(records[0].input, [], [prediction], task.Options())
    assert (output.label, list(output.scores)) == ("standing", ["standing", "lying"])
    assert output.score == pytest.approx(0.75)
    assert list(task.decode(records[0].input, [], [prediction], task.Options(top=1)).scores) == ["standing"]
    assert json.loads(output.model_dump_json())["label"] == "standing"


def test_baselines(task: ImageClassification, records: Any) -> None:
    uneven, _ = bound([*ImageClassification.examples(), ImageClassification.examples()[1]])
    majority, nearest = uneven.baselines()["majority"], task.baselines()["nearest_mean"]
    assert {majority(record.input).label for record in records} == {"standing"}
    assert majority(records[0].input).score == pytest.approx(5 / 9)
    assert [nearest(record.input).label for record in records] == [record.target.label for record in records]


def test_a_picture_shows_the_image_and_marks_the_truth(task: ImageClassification, records: Any) -> None:
    output = task.Output(label="lying", score=0.7, scores={"lying": 0.7, "standing": 0.3})
    figure = task.draw(records[0].input, output, task.Target(label="standing"))
    picture, bars = figure.axes
    assert picture.images[0].get_array().shape == (16, 16, 3)
    assert [text.get_text() for text in bars.get_yticklabels()] == ["lying", "standing (truth)"]
    many = {f"${place}" * 40: 1 / 1000 for place in range(1000)}
    crowded = task.draw(records[0].input, task.Output(label="$0", score=0.1, scores=many), task.Target(label="other"))
    assert "988 smaller" in crowded.axes[1].get_xlabel() or "987 smaller" in crowded.axes[1].get_xlabel()
    crowded.savefig(io.BytesIO(), format="png")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"image": np.zeros((8, 8), np.uint8)}, "row 1: 'label' is missing; given: 'image'"),
        ({"label": "a"}, "row 1: 'image' is missing"),
        ({"image": "none.png", "label": "a"}, "row 1: 'image': 'none.png' is no base64 text"),
        ({"image": b"", "label": "a"}, "row 1: 'image': the image is empty"),
        ({"image": np.zeros((8, 8), np.uint8), "label": ""}, "row 1: 'label'"),
        ({"image": np.zeros((8, 8), np.uint8), "label": None}, "row 1: 'label'"),
    ],
)
def test_bad_rows_are_named(task: ImageClassification, row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task.records([row])[0]


def test_unknown_and_too_few_labels(task: ImageClassification) -> None:
    (record,) = task.records([{"image": np.zeros((16, 16), np.uint8), "label": "lyin"}])
    with pytest.raises(
        ValueError, match=r"unknown label 'lyin'.+did you mean 'lying'.+training saw: 'lying', 'standing'"
    ):
        task.learn(record, np.random.default_rng(0))
    with pytest.raises(
        ValueError, match="the training data has only the label 'lying'; a classifier needs two or more"
    ):
        bound(ImageClassification.examples()[:1])


def test_one_batch_goes_through_the_model_and_learns() -> None:
    import torch

    from anyformer.nn import Pack, Part, build, config

    torch.manual_seed(0)
    task, records = bound(ImageClassification.examples(), smoothing=0)
    trunk = config.Trunk.model_validate(task.default_trunk)
    embedding, body, head = task.embedding(trunk), build.trunk(trunk).eval(), task.head(trunk).eval()
    samples = [task.learn(record, np.random.default_rng(0))[0] for record in records]
    values = torch.from_numpy(np.concatenate([sample.parts["source"] for sample in samples]))
    parts = {"source": Part(values, Pack.of([16] * 8))}
    labels = torch.from_numpy(np.concatenate([sample.targets["label"] for sample in samples]))
    targets = {"label": Part(labels, Pack.of([1] * 8))}
    weights = [weight for module in (embedding, body, head) for weight in module.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=1e-3)
    for _ in range(20):
        loss = head.loss(body(embedding(parts)), targets)["loss"] / head.weigh(targets)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    with torch.no_grad():
        streams = body(embedding(parts))
        predictions = head.split(head(streams), streams)
    answers = [
        task.decode(record.input, [], [prediction], task.Options())
        for record, prediction in zip(records, predictions, strict=True)
    ]
    assert [answer.label for answer in answers] == [record.target.label for record in records]


def test_the_demo_is_split_without_overlap() -> None:
    from anyformer_vision.demos import digits

    demo = digits()
    assert (len(demo.train), len(demo.valid)) == (1437, 360)
    key = [row["image"].tobytes() for row in [*demo.train, *demo.valid]]
    assert len(set(key[:1437]) & set(key[1437:])) == 0
    assert {row["label"] for row in demo.valid} == set("0123456789")


def test_modules_import_nothing_heavy() -> None:
    heavy = ["torch", "torchvision", "sklearn", "matplotlib", "PIL", "timm", "transformers"]
    code = (
        "import sys, anyformer_vision, anyformer_vision.image_classification, anyformer_vision.demos;"
        "import anyformer_vision.tokenizers, anyformer_vision.readers, anyformer_vision.presets, anyformer_vision.augment;"
        f"sys.exit(' '.join(name for name in {heavy} if name in sys.modules) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
