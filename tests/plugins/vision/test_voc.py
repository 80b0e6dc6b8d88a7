from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from anyformer.data.hashing import fingerprint
from anyformer.data.sources import open_data
from anyformer.media import Image
from anyformer.task import validate
from anyformer_vision.boxes import Boxes
from anyformer_vision.voc import parse, voc

OBJECT = """<object><name>{label}</name><difficult>1</difficult><bndbox><xmax>{right}</xmax><xmin>2</xmin><ymin>3.5</ymin>
<ymax>9</ymax></bndbox><part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>"""


def xml(filename: str, *objects: str) -> bytes:
    named = f"<filename>{filename}</filename>" if filename else ""
    return f"<?xml version='1.0'?><annotation>{named}{''.join(objects)}</annotation>".encode()


def png(value: int = 0) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("L", (4, 4), value).save(buffer, "PNG")
    return buffer.getvalue()


FILES = {
    "Annotations/2.xml": xml("two.png", OBJECT.format(label="dog", right=8), OBJECT.format(label="cat", right=7)),
    "Annotations/1.xml": xml("elsewhere.jpg"),
    "Annotations/10.xml": xml("", OBJECT.format(label="cat", right=6)),
    "JPEGImages/1.PNG": png(1),
    "JPEGImages/two.png": png(2),
    "JPEGImages/10.jpg": png(10),
    "ImageSets/Main/train.txt": b"2\n10  1\n\n",
}


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def pack(path: Path, files: dict[str, bytes], above: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(above + name, content)
    return path


def seen(rows: Any) -> list[tuple[int, list[Any]]]:
    grey = [int(Image.of(row["image"]).pixels("L")[0, 0]) for row in rows]
    return [(value, [list(box.values()) for box in row["boxes"]]) for value, row in zip(grey, rows, strict=True)]


SEEN = [
    (1, []),
    (10, [["cat", [2, 3.5, 6, 9]]]),
    (2, [["dog", [2, 3.5, 8, 9]], ["cat", [2, 3.5, 7, 9]]]),
]


def test_folder_and_zip_give_the_same_rows_edges_as_written(tmp_path: Path) -> None:
    folder = fill(tmp_path / "f", FILES)
    for path in (folder, pack(tmp_path / "z.zip", FILES), pack(tmp_path / "d.zip", FILES, "VOCdevkit/VOC2012/")):
        rows = voc(path)
        assert seen(rows) == SEEN
        assert seen(open_data(path)) == SEEN
        assert seen(pickle.loads(pickle.dumps(rows))) == SEEN
        assert fingerprint(rows) == fingerprint(open_data(path))
        validate(Boxes, rows[2], "row 3")
    assert seen(open_data(folder / "ImageSets/Main/train.txt", reader="voc")) == [SEEN[2], SEEN[1]]


BOMB = b"""<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><annotation><filename>&b;</filename></annotation>"""
OUTSIDE = (
    b"""<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]><annotation><filename>&a;</filename></annotation>"""
)


@pytest.mark.parametrize("content", [BOMB, OUTSIDE, b"<!DOCTYPE x SYSTEM 'http://x.test/x.dtd'><annotation/>"])
def test_a_document_type_is_refused(tmp_path: Path, content: bytes) -> None:
    rows = voc(fill(tmp_path, FILES | {"Annotations/1.xml": content}))
    with pytest.raises(
        ValueError, match=r"'Annotations/1.xml' of .* has a document type \(<!DOCTYPE\), which may read"
    ):
        rows[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<annotation>", "'Annotations/1.xml' of .* is no XML: no element found"),
        (b"<a>&b;</a>", "is no XML: undefined entity"),
        (xml("../1.PNG"), "'../1.PNG' leads out of its folder; write names relative to it"),
        (xml("/1.PNG"), "'/1.PNG' leads out of its folder"),
        (xml("1.PNG", OBJECT.format(label="dog", right="x")), "object 1: a bndbox with four numbers is needed; .*xmax='x'"),
        (xml("1.PNG", "<object><name>a</name></object>"), "object 1: a bndbox with four numbers is needed; got xmin=''"),
    ],
)  # fmt: skip
def test_a_bad_annotation_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    rows = voc(fill(tmp_path, FILES | {"Annotations/1.xml": content}))
    with pytest.raises(ValueError, match=message) as caught:
        rows[0]
    assert "\n" not in str(caught.value)


def test_a_missing_image_and_other_data_are_said(tmp_path: Path) -> None:
    rows = voc(fill(tmp_path, {name: content for name, content in FILES.items() if not name.endswith("1.PNG")}))
    with pytest.raises(
        ValueError, match=r"there is no image 'JPEGImages/elsewhere.jpg', and none called 'JPEGImages/1.jpg'"
    ):
        rows[0]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"is no VOC data set: it has no .xml in a folder 'Annotations'"):
        voc(tmp_path / "empty")
    with pytest.raises(ValueError, match="columns image and boxes; leave out columns"):
        voc(tmp_path, ["image"])
    wrong = fill(tmp_path, {"ImageSets/Main/val.txt": b"2\nlost\n"}) / "ImageSets/Main/val.txt"
    with pytest.raises(
        ValueError, match=r"lists 'lost', which has no lost.xml in 'Annotations'; there is '1', '10', '2'"
    ):
        voc(wrong)
    (tmp_path / "empty/list.txt").write_text("2")
    with pytest.raises(ValueError, match="is no list of a VOC data set"):
        voc(tmp_path / "empty/list.txt")


def test_text_is_read_as_xml_reads_it() -> None:
    assert parse("<a>&lt;<b>é</b></a>".encode(), "x").findtext("b") == "é"


LINE = b'{"file": "images/1.png", "objects": [{"label": "dog", "bbox": [1, 2, 3, 4], "crowd": true}]}\n'


def test_boxes_in_json_lines(tmp_path: Path) -> None:
    files = {"annotations.jsonl": LINE, "images/1.png": png(5)}
    for path in (fill(tmp_path / "f", files), pack(tmp_path / "z.zip", files), pack(tmp_path / "a.zip", files, "x/y/")):
        assert seen(open_data(path)) == [(5, [["dog", [1, 2, 3, 4], True]])]
    with pytest.raises(ValueError, match="columns image and boxes; leave out columns"):
        open_data(tmp_path / "f", columns="image")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", 'record 1 of \'annotations.jsonl\' of .*: {"file": .., "objects": .* is needed; got'),
        (LINE.replace(b"bbox", b"box"), "is needed; got"),
        (LINE.replace(b"images/1", b"../1"), "'../1.png' leads out of its folder"),
        (LINE.replace(b"images/1", b"images/2"), "there is no image 'images/2.png'"),
    ],
)
def test_a_bad_line_is_said(tmp_path: Path, line: bytes, message: str) -> None:
    rows = open_data(fill(tmp_path, {"annotations.jsonl": line, "images/1.png": png()}))
    with pytest.raises(ValueError, match=message):
        rows[0]


def test_the_shared_blood_cells() -> None:
    path = Path(__file__).resolve().parents[4] / "shared/data/vision/bccd/val.zip"
    if not path.is_file():
        pytest.skip("the shared data sets are not beside the repository")
    rows = open_data(path)
    records = [validate(Boxes, row, f"row {place}") for place, row in enumerate(rows, 1)]
    assert len(rows) == 87
    assert sum(len(record.boxes) for record in records) == 1137
    assert {box.label for record in records for box in record.boxes} == {"RBC", "WBC", "Platelets"}
    assert rows[86]["image"].pixels().shape == (480, 640, 3)
