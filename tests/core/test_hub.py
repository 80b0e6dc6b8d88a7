"""Data sets of the datasets library are rows: never copied, their values as tasks take them."""

from __future__ import annotations

import pickle
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyformer import plugins
from anyformer.data import fingerprint, open_data, overlap, records_of, split
from anyformer.data.dataset import Dataset
from anyformer.data.hub import HubRows
from anyformer.data.steps import order_of
from anyformer.data.streams import StreamRows
from anyformer.media import Image
from anyformer.train.where import where

datasets = pytest.importorskip("datasets", reason="the datasets library is not installed")

PIXELS = [np.full((4, 5, 3), 20 * number, np.uint8) for number in range(6)]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(datasets.config, "HF_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)


def reviews(**rest: Any) -> Any:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    given = {"text": [f"text {number}" for number in range(20)], "label": [number % 2 for number in range(20)]}
    return datasets.Dataset.from_dict(given, features=features, **rest)


def photos() -> Any:
    import PIL.Image

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["dark", "light"])})
    given = {"image": [PIL.Image.fromarray(each) for each in PIXELS], "label": [number // 3 for number in range(6)]}
    return datasets.Dataset.from_dict(given, features=features)


def test_rows_with_the_names_of_their_classes() -> None:
    rows = open_data(reviews())
    assert isinstance(rows, HubRows)
    assert rows[3] == {"text": "text 3", "label": "good"}
    assert rows[-2] == {"text": "text 18", "label": "bad"}
    assert open_data(reviews(), {"line": "text"})[1]["line"] == "text 1"
    assert open_data(reviews().with_format("numpy"))[3] == rows[3]
    assert open_data(reviews().shuffle(seed=0).select(range(4)))[0]["text"] != "text 0"
    assert list(pickle.loads(pickle.dumps(rows))) == list(rows)


def test_nested_and_unknown_classes_and_arrays() -> None:
    features = datasets.Features(
        {
            "tags": datasets.List(datasets.ClassLabel(names=["O", "B"])),
            "label": datasets.ClassLabel(names=["a"]),
            "grid": datasets.Array2D((2, 2), "float32"),
            "xs": datasets.List(datasets.Value("int64")),
        }
    )
    given = {"tags": [[0, 1]], "label": [-1], "grid": [np.eye(2, dtype=np.float32)], "xs": [[1, 2]]}
    row = open_data(datasets.Dataset.from_dict(given, features=features))[0]
    assert (row["tags"], row["label"], row["xs"]) == (["O", "B"], None, [1, 2])
    assert row["grid"].dtype == np.float32
    np.testing.assert_array_equal(row["grid"], np.eye(2))


def test_images_are_what_a_task_takes() -> None:
    records = plugins.task("vision/image-classification")
    rows = open_data(photos())
    found = records.records(records.__new__(records), rows)
    for number, pixels in enumerate(PIXELS):
        np.testing.assert_array_equal(found[number].input.image.pixels("RGB"), pixels)
        assert found[number].target.label == ["dark", "light"][number // 3]
    transformed = photos().with_transform(lambda batch: {"image": [each.rotate(180) for each in batch["image"]]})
    np.testing.assert_array_equal(Image.of(open_data(transformed)[1]["image"]).pixels("RGB"), PIXELS[1])


def test_an_image_may_be_a_file(tmp_path: Path) -> None:
    import PIL.Image

    PIL.Image.fromarray(PIXELS[2]).save(tmp_path / "x.png")
    data = datasets.Dataset.from_dict({"image": [str(tmp_path / "x.png")]}).cast_column("image", datasets.Image())
    assert open_data(data)[0]["image"] == tmp_path / "x.png"


def test_the_data_of_a_run(tmp_path: Path) -> None:
    found = Dataset.open(reviews(), None, None, 0, False)
    assert (len(found.train), len(found.valid)) == (18, 2)
    assert found.asked == Dataset.open(reviews(), None, None, 0, False).asked
    reviews().save_to_disk(str(tmp_path / "saved"))
    assert fingerprint(open_data(datasets.load_from_disk(str(tmp_path / "saved")))) == fingerprint(open_data(reviews()))
    assert fingerprint(open_data(reviews().select(range(19)))) != fingerprint(open_data(reviews()))
    assert overlap(open_data(reviews()), open_data(reviews().select([3, 4]))) == 2
    assert where(found.train, 0) == f"the dataset, row {int(found.train.places[0]) + 1}"  # type: ignore[attr-defined]
    assert where(open_data(reviews(split="train")), 4) == "the dataset (train), row 5"


def test_a_stream_is_one() -> None:
    data = reviews().to_iterable_dataset()
    rows = open_data(data)
    assert isinstance(rows, StreamRows)
    assert rows[3] == {"text": "text 3", "label": "good"}
    whole = records_of(plugins.task("nlp/text-classification").__new__(plugins.task("nlp/text-classification")), rows)
    taken = [whole[each.index].target.label for each in order_of(whole, 0, 20).step(1)]
    assert sorted(taken) == ["bad"] * 10 + ["good"] * 10
    stream = open_data(photos().to_iterable_dataset())
    np.testing.assert_array_equal(Image.of(stream[4]["image"]).pixels("RGB"), PIXELS[4])


def test_several_parts_are_refused() -> None:
    parts = datasets.DatasetDict({"train": reviews(), "test": reviews()})
    expected = "the data is a DatasetDict with the parts 'train', 'test'; give one, data=dataset['train']"
    with pytest.raises(ValueError, match=re.escape(expected)):
        open_data(parts)
    streams = datasets.IterableDatasetDict({"test": reviews().to_iterable_dataset()})
    with pytest.raises(ValueError, match=re.escape("the data is a IterableDatasetDict with the parts 'test'")):
        open_data(streams)


def test_data_frames_are_split_and_compared_too() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": [f"text {number}" for number in range(20)], "n": range(20)})
    found = Dataset.open(frame, 0.2, None, 1, False)
    assert sorted(row["n"] for part in (found.train, found.valid) for row in part) == list(range(20))
    assert Dataset.open(frame, frame[:3], None, 0, False).asked["in_both"] == 3
    assert len(split(open_data(frame), 0.5, 0)[1]) == 10


def test_rows_stay_in_their_file(tmp_path: Path) -> None:
    """Opening and reading a row of forty megabytes takes a fraction of them."""
    reviews().map(lambda row: {"text": row["text"] * 300_000}, writer_batch_size=1).save_to_disk(str(tmp_path / "big"))
    data = datasets.load_from_disk(str(tmp_path / "big"))
    tracemalloc.start()
    try:
        rows = open_data(data)
        assert len(rows[7]["text"]) > 10**6
        assert tracemalloc.get_traced_memory()[1] < 8 * 10**6
    finally:
        tracemalloc.stop()
