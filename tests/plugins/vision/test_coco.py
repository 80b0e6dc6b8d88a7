from __future__ import annotations

import gzip
import io
import json
import pickle
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from anyformer.data.sources import open_data
from anyformer.task import validate
from anyformer_vision.boxes import Boxes, Photo
from anyformer_vision.coco import coco

IMAGES = [{"id": 7, "file_name": "b.png", "width": 4, "height": 4}, {"id": 3, "file_name": "./a.png"}]
CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 1, "name": "cat"}]
ANNOTATIONS = [
    {
        "id": 1,
        "image_id": 3,
        "category_id": 1,
        "bbox": [1, 2, 10, 20.5],
        "area": 33.5,
        "iscrowd": 0,
        "segmentation": [[1, 2]],
    },
    {"id": 2, "image_id": 7, "category_id": 18, "bbox": [0, 0, 4, 3]},
    {
        "id": 3,
        "image_id": 3,
        "category_id": 18,
        "bbox": [0, 0, 1, 1],
        "iscrowd": 1,
        "segmentation": {"counts": [1], "size": [2]},
    },
]


def write(path: Path, **changes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"images": IMAGES, "annotations": ANNOTATIONS, "categories": CATEGORIES} | changes
    content = {name: value for name, value in content.items() if value is not None}
    path.write_text(json.dumps(content))
    return path


def fill(folder: Path, names: tuple[str, ...] = ("a.png", "b.png")) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        buffer = io.BytesIO()
        PIL.Image.new("L", (4, 4)).save(buffer, "PNG")
        (folder / name).write_bytes(buffer.getvalue())
    return folder


def test_rows_have_corners_labels_crowds_and_areas(tmp_path: Path) -> None:
    rows = coco(write(fill(tmp_path) / "x.json"))
    expected = [
        {
            "image": tmp_path / "b.png",
            "boxes": [{"label": "dog", "box": [0, 0, 4, 3], "crowd": False, "area": None}],
        },
        {
            "image": tmp_path / "a.png",
            "boxes": [
                {"label": "cat", "box": [1, 2, 11, 22.5], "crowd": False, "area": 33.5},
                {"label": "dog", "box": [0, 0, 1, 1], "crowd": True, "area": None},
            ],
        },
    ]
    assert list(rows) == expected
    assert list(pickle.loads(pickle.dumps(rows))) == expected
    assert [rows[-1]] == list(rows[1:])
    assert [len(validate(Boxes, row, "row").boxes) for row in rows] == [1, 2]
    assert validate(Photo, rows[0], "row").image.pixels().shape == (4, 4, 3)


@pytest.mark.parametrize(
    "images", ["annotations", "annotations/val2017", "annotations/images", ".", "val2017", "images", "images/val2017"]
)
def test_images_are_found_in_the_usual_places(tmp_path: Path, images: str) -> None:
    fill(tmp_path / images)
    rows = coco(write(tmp_path / "annotations" / "instances_val2017.json"))
    assert [row["image"].resolve() for row in rows] == [
        (tmp_path / images / name).resolve() for name in ("b.png", "a.png")
    ]


def test_names_may_say_the_folder(tmp_path: Path) -> None:
    fill(tmp_path / "photos")
    path = write(tmp_path / "x.json", images=[{"id": 3, "file_name": "photos/a.png"}], annotations=[])
    assert list(coco(path)) == [{"image": tmp_path / "photos" / "a.png", "boxes": []}]


def test_without_annotations_there_are_no_boxes(tmp_path: Path) -> None:
    path = write(fill(tmp_path) / "image_info.json", annotations=None)
    assert [sorted(row) for row in coco(path)] == [["image"], ["image"]]


def test_suffix_format_name_and_folder_lead_here(tmp_path: Path) -> None:
    path = write(fill(tmp_path) / "train.coco.json")
    packed = tmp_path / "packed.coco.json.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    (tmp_path / "plain.json").write_bytes(path.read_bytes())
    expected = list(coco(path))
    assert list(open_data(path)) == expected
    assert list(open_data(packed)) == expected
    assert list(open_data(tmp_path / "plain.json", reader="coco")) == expected
    packed.unlink()
    assert list(open_data(tmp_path)) == expected
    write(tmp_path / "more.coco.json")
    with pytest.raises(ValueError, match=r"has several COCO files; name one, .*: 'more.coco.json', 'train.coco.json'"):
        open_data(tmp_path)
    write(tmp_path / "whole" / "annotations" / "instances_x.json")
    fill(tmp_path / "whole" / "x")
    assert [row["boxes"] for row in open_data(tmp_path / "whole")] == [row["boxes"] for row in expected]


def changed(place: int, **fields: Any) -> dict[str, Any]:
    return {"annotations": [one | fields if number == place else one for number, one in enumerate(ANNOTATIONS)]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "has lists of images, annotations and categories; got an object with 'annotations', 'categ"),
        ({"categories": None}, "has lists of images, annotations and categories; got"),
        ({"images": []}, "lists no image"),
        ({"images": [{"id": 1}]}, "image 1: the name of a file is needed; got None"),
        ({"images": ["a.png"]}, "image 1: an object with an id and a file_name is needed; got 'a.png'"),
        ({"images": [*IMAGES, IMAGES[0]]}, "image 3: the id 7 is that of an earlier image; ids must differ"),
        ({"images": [{"id": 7, "file_name": "../a.png"}]}, "image 1: '../a.png' leads out of its folder; write names"),
        ({"images": [{"id": 7, "file_name": "/etc/a.png"}]}, "image 1: '/etc/a.png' leads out of its folder"),
        ({"images": [{"id": 7, "file_name": "x\\..\\a.png"}]}, "leads out of its folder"),
        ({"images": [{"id": 7, "file_name": "C:\\a.png"}]}, "leads out of its folder"),
        ({"images": [{"id": 7, "file_name": "none.png"}]}, "there is no image 'none.png' in any of "),
        ({"images": [*IMAGES, {"id": 9, "file_name": "c.png"}]}, "1 of 3 images are not in .*: 'c.png'"),
        ({"categories": [*CATEGORIES, {"id": 2, "name": "dog"}]}, "has the id or the name of an earlier category"),
        ({"categories": [{"id": 2}]}, "category 1: an object with an id and a name is needed; got {'id': 2}"),
        (changed(1, image_id=8), "annotation 2: its image_id is 8; the ids are '7', '3'"),
        (changed(1, category_id=[1]), r"annotation 2: its category_id is \[1\]; the ids are '18', '1'"),
        (changed(2, bbox=[1, 2, 3]), r"annotation 3: bbox must be left, top, width, height, .*; got \[1, 2, 3\]"),
        (changed(2, bbox=["a", 2, 3, 4]), "annotation 3: bbox must be"),
        (changed(0, area="big"), "annotation 1: bbox must be left, top, width, height, and area a number"),
        ({"annotations": [5]}, "annotation 1: an object is needed; got 5"),
        (changed(0, area=float("nan")), "is no JSON: NaN is no number of JSON"),
    ],
)
def test_what_is_no_coco_file_is_said(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        coco(write(fill(tmp_path) / "x.json", **changes))
    assert "\n" not in str(caught.value)


def test_a_broken_file_and_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ValueError, match="is no JSON: Expecting property name"):
        coco(tmp_path / "x.json")
    with pytest.raises(ValueError, match="with the columns image and boxes; leave out columns"):
        coco(tmp_path / "x.json", ["image"])


def test_a_box_of_negative_width_is_named_by_its_row(tmp_path: Path) -> None:
    rows = coco(write(fill(tmp_path) / "x.json", **changed(1, bbox=[3, 0, -1, 2])))
    with pytest.raises(ValueError, match=r"row 1: 'boxes\.0\.box': a box is x0, y0, x1, y1 with"):
        validate(Boxes, rows[0], "row 1")
