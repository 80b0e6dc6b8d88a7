"""Giving freed memory back to the system.

Packs differ in length from step to step, so buffers of every size are taken and freed. The C library keeps what is freed, in
pieces that the next size does not fit, and a run on the CPU would grow by a megabyte or two a step. Trimming now and then
keeps it flat.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable


def trim() -> None:
    """Return free memory to the system, where the C library can (glibc); elsewhere do nothing."""
    if (call := _malloc_trim()) is not None:
        call(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
