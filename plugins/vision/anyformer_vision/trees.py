"""The files of a data set by their names in it: of a folder, or of a zip that is read in place.

Names come out of annotation files, which a stranger may have written. One that is absolute or climbs out is refused before
anything is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Protocol

from anyformer.data.files import unreadable
from anyformer.media import MAX_BYTES, Image
from anyformer_vision.readers import Archive


class Tree(Protocol):
    """Files under one root. A name is a relative path with slashes."""

    path: Path
    """Where the root is, for errors."""

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""

    def under(self, folder: str) -> list[str]:
        """Names of the files right in a folder, sorted, hidden ones left out; none if there is no such folder."""

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises `ValueError` for one that cannot be read or is larger than `MAX_BYTES`."""

    def image(self, name: str) -> Path | Image:
        """A file as the image of a row."""

    def feed(self, digest: Any) -> bool:
        """Add all the files to a hash and say True, or say False where that is no cheaper than hashing the rows."""


class Folder:
    """The files of a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def has(self, name: str) -> bool:
        """As `Tree.has`."""
        return (self.path / name).is_file()

    def under(self, folder: str) -> list[str]:
        """As `Tree.under`."""
        place = self.path / folder
        entries = place.iterdir() if place.is_dir() else ()
        names = sorted(entry.name for entry in entries if entry.is_file() and not entry.name.startswith("."))
        return [(PurePosixPath(folder) / name).as_posix() for name in names]

    def read(self, name: str) -> bytes:
        """As `Tree.read`."""
        path = self.path / name
        try:
            if path.stat().st_size > MAX_BYTES:
                raise ValueError(f"{str(path)!r} is larger than {MAX_BYTES // 2**20} MiB")
            return path.read_bytes()
        except OSError as error:
            raise unreadable(path, error) from None

    def image(self, name: str) -> Path:
        """As `Tree.image`."""
        return self.path / name

    def feed(self, digest: Any) -> bool:
        """As `Tree.feed`."""
        return False


class Zip:
    """The files of a zip, without the folders that all of them share."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.archive = Archive(path)
        places = {name: PurePosixPath(name).parts for name in self.archive.names}
        places = {name: parts for name, parts in places.items() if parts[:1] != ("__MACOSX",)}
        num_shared = 0
        folders = [parts[:-1] for parts in places.values()] or [()]
        for first, last in zip(min(folders), max(folders), strict=False):  # what these two share in order, all share
            if first != last:
                break
            num_shared += 1
        self.members = {"/".join(parts[num_shared:]): name for name, parts in places.items()}

    def has(self, name: str) -> bool:
        """As `Tree.has`."""
        return name in self.members

    def under(self, folder: str) -> list[str]:
        """As `Tree.under`."""
        found = (name for name in self.members if PurePosixPath(name).parent == PurePosixPath(folder))
        return sorted(name for name in found if not PurePosixPath(name).name.startswith("."))

    def read(self, name: str) -> bytes:
        """As `Tree.read`."""
        return self.archive.read(self.members[name])

    def image(self, name: str) -> Image:
        """As `Tree.image`."""
        return self.archive.image(self.members[name])

    def feed(self, digest: Any) -> bool:
        """As `Tree.feed`."""
        self.archive.feed(digest)
        return True


def inside(name: Any, where: str) -> str:
    """The name of a file as a relative path, `./` taken off.

    Raises `ValueError`, beginning with `where`, for what is no text, and for a name that leads out of its folder.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"{where}: the name of a file is needed; got {name!r}")
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    if path.is_absolute() or windows.is_absolute() or windows.drive or ".." in windows.parts or "\0" in name:
        raise ValueError(f"{where}: {name!r} leads out of its folder; write names relative to it, without '..'")
    return path.as_posix()


def no_columns(path: Path, columns: Sequence[str] | None) -> None:
    """Raises `ValueError` if columns were given: files of boxes name theirs."""
    if columns:
        raise ValueError(f"{str(path)!r} is read as images with the columns image and boxes; leave out columns")
