"""Readers of image folders, plain or zipped: one folder for each class, a row for each image.

* The label is the path of the image's folder, without the folders that all images share: `data/cat/1.png` beside
  `data/dog/1.png` gives `cat` and `dog`. Images that lie in no class folder have no label, which is enough to ask a model.
* Rows are sorted by path and read when they are asked for.
* Every file is an image or an error; only hidden files and those that systems leave behind are passed over.
* A zip is read in place and never unpacked, so the names in it open no file.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any

from anyformer.data.files import Content
from anyformer.data.views import RowSequence
from anyformer.media import MAX_BYTES, Image

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
LEFT_BEHIND = ("__MACOSX", "Thumbs.db", "desktop.ini")


def folder(path: Path, columns: Sequence[str] | None = None) -> RowSequence:
    """Rows `{"image": path, "label": class}` of a folder of class folders, of any depth.

    Raises `ValueError` for a folder without images, or with other files.
    """
    _no_columns(path, columns)
    found = [Path(place, name).relative_to(path).as_posix() for place, _, names in os.walk(path) for name in names]
    return _FolderRows(path, found)


def zipped(path: Path, columns: Sequence[str] | None = None) -> RowSequence:
    """Rows `{"image": Image, "label": class}` of a zip of class folders, of any depth.

    Raises `ValueError` for a file that is no zip, has no images, other files, or a member that is too large.
    """
    _no_columns(path, columns)
    return _ZipRows(path)


class _ImageRows(RowSequence):
    """Sorted names of images, and their labels."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path = path
        self.names = sorted(name for name in names if not _passed_over(name))
        self.labels = _labels(path, self.names)

    def __len__(self) -> int:
        return len(self.names)

    def row(self, index: int) -> dict[str, Any]:
        """The image, and its label where it has one."""
        row: dict[str, Any] = {"image": self.image(self.names[index])}
        return row | {"label": self.labels[index]} if self.labels else row

    def image(self, name: str) -> Path | Image:
        """The image of this name."""
        raise NotImplementedError


class _FolderRows(_ImageRows):
    def image(self, name: str) -> Path:
        return self.path / name


class _ZipRows(_ImageRows):
    def __init__(self, path: Path) -> None:
        self.archive = Archive(path)
        super().__init__(path, self.archive.names)

    def image(self, name: str) -> Image:
        return self.archive.image(name)

    def feed(self, digest: Any) -> None:
        """The bytes of the zip."""
        self.archive.feed(digest)


class Archive:
    """The files in a zip, read in place.

    Raises `ValueError` for a file that is no zip, and for a member that is too large or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.content = Content(path)
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        self._process = 0
        members = [member for member in self.zip.infolist() if not member.is_dir()]
        self.names = [member.filename for member in members]
        for member in members:
            if member.file_size > MAX_BYTES:
                raise ValueError(f"{str(path)!r}: {member.filename!r} is larger than {MAX_BYTES // 2**20} MiB unpacked")

    @property
    def zip(self) -> zipfile.ZipFile:
        """The open zip. Each process opens its own: a position in a file that a fork shares is nobody's."""
        if self._zip is None or self._process != os.getpid():
            try:
                self._zip, self._process = zipfile.ZipFile(self.path), os.getpid()
            except (OSError, zipfile.BadZipFile) as error:
                raise ValueError(f"{str(self.path)!r} is no zip that can be read: {error}") from None
        return self._zip

    def read(self, name: str) -> bytes:
        """The bytes of one member."""
        try:
            with self.zip.open(name) as member:
                return member.read(MAX_BYTES)  # the directory's size was checked; this holds if it lied
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise ValueError(f"{str(self.path)!r}: {name!r} cannot be read: {error}") from None

    def image(self, name: str) -> Image:
        """One member as an image."""
        return Image(self.read(name), f"{name!r} of {str(self.path)!r}")

    def feed(self, digest: Any) -> None:
        """Add the bytes of the zip to a hash."""
        self.content.feed(digest)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_zip": None}


def _no_columns(path: Path, columns: Sequence[str] | None) -> None:
    if columns:
        raise ValueError(f"{str(path)!r} is read as images with the columns image and label; leave out columns")


def _passed_over(name: str) -> bool:
    return any(part in LEFT_BEHIND or (part.startswith(".") and part not in (".", "..")) for part in name.split("/"))


def _labels(path: Path, names: Sequence[str]) -> list[str]:
    """The label of each image, or an empty list where no image lies in a class folder."""
    for name in names:
        if not name.lower().endswith(SUFFIXES):
            raise ValueError(f"{str(path)!r} holds {name!r}, which is no image; images end in {', '.join(SUFFIXES)}")
    if not names:
        raise ValueError(f"{str(path)!r} holds no image; images end in {', '.join(SUFFIXES)}")
    places = [PurePosixPath(name).parent.parts for name in names]
    loose = next((name for name, place in zip(names, places, strict=True) if not place), None)
    if loose is not None:
        if any(places):
            raise ValueError(f"{str(path)!r} has class folders, but {loose!r} is in none; move it into one")
        return []
    above = [place[:-1] for place in places]
    pairs = zip(min(above), max(above), strict=False)  # what the first and the last share in order, all share
    num_shared = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
    return ["/".join(place[num_shared:]) for place in places]
