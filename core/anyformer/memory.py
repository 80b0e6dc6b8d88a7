"""Memory of a process on the CPU: freed pages are kept for the next layer, and given back where the process would grow.

* The C library gives a large block back as soon as it is freed, and the system clears each of its pages when it is taken
  again: a fifth of the time of a training step of a small model, and half of that of a large product that int8 made fast.
  `keep_pages` makes it keep them.
* Packs differ in length, so buffers of every size are taken and freed. What is freed stays in pieces that the next size
  does not fit, and the process would grow by a megabyte or two a pack. `Trimmer` gives them back now and then.
"""

from __future__ import annotations

import ctypes
import functools
import os
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # numbers of `mallopt` in malloc.h
KEPT = 2**30
"""Bytes: larger blocks, and as much at the end of the heap, still go back to the system at once."""
SLACK = 16 * 2**20
"""Bytes that a process may grow by before it is trimmed."""


def keep_pages() -> None:
    """Let this process keep freed memory, where the C library can be told (glibc); elsewhere do nothing."""
    library = _library()
    if hasattr(library, "mallopt") and hasattr(library, "malloc_trim"):
        library.mallopt(_MMAP_THRESHOLD, KEPT)
        library.mallopt(_TRIM_THRESHOLD, KEPT)


class Trimmer:
    """Gives free memory back to the system when the process has grown."""

    def __init__(self) -> None:
        self._usual: int | None = None
        """Bytes in memory with what packs leave behind: the least that was seen, or what no trim can give back."""

    def __call__(self) -> bool:
        """Trim if the process is larger than usual by more than a thirty-second and `SLACK`; returns whether it was."""
        size = resident()
        if size is None:
            return trim()
        self._usual = size if self._usual is None else min(self._usual, size)
        if size <= self._usual + max(SLACK, self._usual // 32):
            return False
        trim()
        self._usual = max(self._usual, resident() or 0)
        return True


def trim() -> bool:
    """Return free memory to the system, where the C library can (glibc); else False."""
    library = _library()
    return hasattr(library, "malloc_trim") and bool(library.malloc_trim(0))


def resident() -> int | None:
    """Bytes of this process in memory; None where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


@functools.cache
def _library() -> Any:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):
        return None
