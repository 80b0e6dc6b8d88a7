from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from anyformer.media import Image
from anyformer_vision import readers


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("L", (4, 4), value).save(buffer, "PNG")
    return buffer.getvalue()


def fill(folder: Path, names: list[str]) -> Path:
    for value, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(value))
    return folder


def pack(path: Path, names: list[str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for value, name in enumerate(names):
            archive.writestr(name, png(value))
    return path


NAMES = ["all/dog/2.PNG", "all/dog/1.png", "all/cat/1.jpg", "all/cat/.hidden", "all/cat/Thumbs.db"]
SEEN = [("cat", 2), ("dog", 1), ("dog", 0)]


def seen(rows: Any) -> list[tuple[str, int]]:
    return [(row["label"], int(Image.of(row["image"]).pixels("L")[0, 0])) for row in rows]


def test_folder_and_zip_give_the_same_sorted_rows(tmp_path: Path) -> None:
    folder, zipped = readers.folder(fill(tmp_path / "f", NAMES)), readers.zipped(pack(tmp_path / "z.zip", NAMES))
    for rows in (folder, zipped):
        assert len(rows) == 3
        assert seen(rows) == SEEN
        assert seen(rows[1:]) == SEEN[1:]
        assert seen([rows[-1]]) == SEEN[-1:]
        assert seen(pickle.loads(pickle.dumps(rows))) == SEEN
        with pytest.raises(IndexError):
            rows[3]


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["cat/1.png", "cat/2.png"], ["cat", "cat"]),
        (["data/cat/1.png"], ["cat"]),
        (["a/x/1.png", "a/x/y/1.png"], ["x", "x/y"]),
        (["set/Latin/a/1.png", "set/Greek/a/1.png"], ["Greek/a", "Latin/a"]),
        (["ab/1.png", "abc/1.png"], ["ab", "abc"]),
    ],
)
def test_labels_leave_out_the_folders_that_all_share(tmp_path: Path, names: list[str], labels: list[str]) -> None:
    assert [row["label"] for row in readers.folder(fill(tmp_path, names))] == labels


def test_images_in_no_class_folder_have_no_label(tmp_path: Path) -> None:
    rows = readers.folder(fill(tmp_path, ["b.png", "a.png"]))
    assert [sorted(row) for row in rows] == [["image"], ["image"]]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "holds no image; images end in .bmp, "),
        (["cat/1.png", "cat/notes.txt"], "holds 'cat/notes.txt', which is no image"),
        (["cat/1.png", "2.png"], "has class folders, but '2.png' is in none"),
    ],
)
def test_what_is_no_image_folder_is_said(tmp_path: Path, names: list[str], message: str) -> None:
    (tmp_path / "f").mkdir()
    for read, path in (
        (readers.folder, fill(tmp_path / "f", names)),
        (readers.zipped, pack(tmp_path / "z.zip", names)),
    ):
        with pytest.raises(ValueError, match=message):
            read(path)


def test_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="columns image and label; leave out columns"):
        readers.folder(tmp_path, ["image"])


def test_a_zip_is_bounded_and_its_errors_are_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(tmp_path / "z.zip", ["a/1.png", "b/2.png"])
    content = bytearray(path.read_bytes())
    content[45:55] = bytes(10)  # inside the first image
    (tmp_path / "broken.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"'a/1\.png' cannot be read"):
        readers.zipped(tmp_path / "broken.zip")[0]
    (tmp_path / "none.zip").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match=r"none\.zip' is no zip that can be read"):
        readers.zipped(tmp_path / "none.zip")
    with zipfile.ZipFile(tmp_path / "half.zip", "w") as archive:
        archive.writestr("a/1.png", png(1)[:45])
    with pytest.raises(ValueError, match=r"'a/1\.png' of .*half\.zip' is broken"):
        readers.zipped(tmp_path / "half.zip")[0]["image"].pixels()
    monkeypatch.setattr(readers, "MAX_BYTES", 40)
    with pytest.raises(ValueError, match=r"'a/1\.png' is larger than"):
        readers.zipped(path)


def test_a_name_that_climbs_out_opens_no_file(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(99))
    (tmp_path / "sub").mkdir()
    rows = readers.zipped(pack(tmp_path / "sub" / "z.zip", ["../secret.png", "a/1.png"]))
    assert sorted(int(row["image"].pixels("L")[0, 0]) for row in rows) == [0, 1]


def test_the_shared_cifar10_zip() -> None:
    path = Path(__file__).resolve().parents[4] / "shared/data/vision/cifar10/train.zip"
    if not path.is_file():
        pytest.skip("the shared data sets are not beside the repository")
    rows = readers.zipped(path)
    assert len(rows) == 15_000
    assert len(set(rows.labels)) == 10
    assert np.shape(rows[14_999]["image"].pixels()) == (32, 32, 3)
