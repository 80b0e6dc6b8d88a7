"""Files by position: found or refused in one line, unpacked within a budget, read where they are asked for.

* A plain file stays on disk.
* A `.gz` file cannot be entered in the middle. It is unpacked once to memory, up to `MAX_UNPACKED` bytes.
* Descriptors live in a small shared cache, so ten thousand files can be open data. Positioned reads share no offset between
  threads or forked processes, and a pickled file opens itself again where it lands.
* A file that changes while it is in use is refused: what was noted of it would point into the wrong records.
"""

from __future__ import annotations

import functools
import gzip
import io
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from anyformer.hints import did_you_mean, listed

MAX_UNPACKED = 2 * 2**30
"""Bytes that one compressed file may take in memory."""
BLOCK = 2**20
"""Bytes read at once where a file is read from end to end: what reading it takes, whatever its size."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SEEK = threading.Lock()


class Content:
    """The bytes of one file, unpacked if it ends in `.gz`.

    Raises `ValueError` for a path that is no readable file, a broken archive, and one that unfolds to more than
    `MAX_UNPACKED` bytes.
    """

    def __init__(self, path: Path) -> None:
        self.path = require_file(path)
        self.packed = path.suffix.lower() == ".gz"
        self._absolute = os.path.abspath(path)
        self._stamp = _stamp(os.stat(path))
        self._unpacked: bytes | None = None

    def __len__(self) -> int:
        return len(self._memory()) if self.packed else self._stamp[0]

    def read(self, begin: int, end: int) -> bytes:
        """The bytes from `begin` up to `end`."""
        if self.packed:
            return self._memory()[begin:end]
        try:
            found = _read_at(_descriptor(self._absolute, self._stamp).number, end - begin, begin)
        except OSError as error:
            raise unreadable(self.path, error) from None
        if len(found) != end - begin:
            raise _changed(self.path)
        return found

    def whole(self) -> bytes:
        """All bytes. Raises `ValueError` for an empty file."""
        with self.open() as stream:
            content = stream.read()
        if not content or content.isspace():
            raise ValueError(f"{self.path} is empty")
        return content

    def open(self) -> BinaryIO:
        """The (unpacked) bytes as a stream."""
        if self.packed:
            return io.BytesIO(self._memory())
        try:
            return open(self._absolute, "rb")
        except OSError as error:
            raise unreadable(self.path, error) from None

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """Whole lines, about `BLOCK` bytes of them at a time, each with its position."""
        position = 0
        with self.open() as stream:
            while block := stream.read(BLOCK):
                block += stream.readline()
                yield position, block
                position += len(block)

    def line_number(self, position: int) -> int:
        """The line, from 1, in which a position lies."""
        number = 1
        for begin, block in self.blocks():
            if begin >= position:
                break
            number += block.count(b"\n", 0, position - begin)
        return number

    def feed(self, digest: Any) -> None:
        """Add the bytes of the file as it lies on disk to a hash."""
        with open(self._absolute, "rb") as stream:
            while block := stream.read(BLOCK):
                digest.update(block)

    def _memory(self) -> bytes:
        if self._unpacked is None:
            self._unpacked = self._unpack()
        return self._unpacked

    def _unpack(self) -> bytes:
        try:
            with gzip.open(self._absolute, "rb") as stream:
                if _stamp(os.fstat(stream.fileno())) != self._stamp:
                    raise _changed(self.path)
                content = stream.read(MAX_UNPACKED + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{self.path} is no whole gzip file: {error}") from None
        except OSError as error:
            raise unreadable(self.path, error) from None
        if len(content) > MAX_UNPACKED:
            raise ValueError(
                f"{self.path} unfolds to more than {MAX_UNPACKED:,} bytes; unpack it: a plain file has no limit"
            )
        return content

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_unpacked": None}


def require_file(path: Path) -> Path:
    """The path, if it is a file; raises `ValueError` naming what lies near it."""
    if path.is_file():
        return path
    if path.is_dir():
        raise ValueError(f"{str(path)!r} is a folder; name a file in it: {listed(_names(path))}")
    folder = path.parent
    if not folder.is_dir():
        raise ValueError(f"no such file: {str(path)!r}; there is no folder {str(folder)!r}")
    names = _names(folder)
    raise ValueError(
        f"no such file: {str(path)!r}{did_you_mean(path.name, names)}; in {str(folder)!r} there is: {listed(names, 8)}"
    )


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))


def unreadable(path: Path, error: OSError) -> ValueError:
    """The operating system's refusal in one line."""
    return ValueError(f"cannot read {str(path)!r}: {error.strerror or error}")


def _changed(path: Path) -> ValueError:
    return ValueError(f"{str(path)!r} changed while it was in use; start again, so that it is indexed anew")


class _Descriptor:
    """An open file of the operating system, closed when nobody holds it: the cache may drop one that is being read."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self.number)


@functools.lru_cache(maxsize=64)
def _descriptor(path: str, stamp: tuple[int, ...]) -> _Descriptor:
    descriptor = _Descriptor(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
    if _stamp(os.fstat(descriptor.number)) != stamp:
        raise _changed(Path(path))
    return descriptor


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _read_at(number: int, size: int, position: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(number, size, position)
    with _SEEK:  # Windows has no positioned read, and no fork that would share the offset.
        os.lseek(number, position, os.SEEK_SET)
        return os.read(number, size)
