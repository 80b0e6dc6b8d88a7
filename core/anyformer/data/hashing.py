"""Hashes of data: what a run was trained on, and whether two sets share a row.

* A sequence that knows a cheaper way (the bytes of its file) has a method `feed(digest)`; any other is hashed row by row.
* Every value is written with its type and length, so that no two different values feed the same bytes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from anyformer.media import Image


def fingerprint(rows: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256, in hexadecimal, of the files the rows come from and which of their rows they are; else of the rows."""
    digest = hashlib.sha256()
    feed(digest, rows)
    return digest.hexdigest()


def overlap(
    rows: Sequence[Mapping[str, Any]],
    others: Sequence[Mapping[str, Any]],
    key: Callable[[Mapping[str, Any]], Any] = lambda row: row,
) -> int:
    """How many rows of `others` have a key that occurs in `rows`: a leak, if one is for training and the other is not.

    Only `others`, usually the smaller, is held in memory, as hashes.
    """
    waiting = Counter(_short_hash(key(row)) for row in others)
    return sum(waiting.pop(_short_hash(key(row)), 0) for row in rows)


def _short_hash(value: Any) -> int:
    """128 bits: two different rows of a billion meet by chance with probability 1e-21."""
    digest = hashlib.blake2b(digest_size=16)
    feed(digest, value)
    return int.from_bytes(digest.digest(), "little")


def feed(digest: Any, value: Any) -> None:
    """Add any value of a row, or a sequence of rows, to a hash."""
    if hasattr(value, "feed"):
        value.feed(digest)
        return
    if isinstance(value, Image):
        value = value.value
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, np.ndarray) and value.dtype != object:
        digest.update(f"array {value.dtype.str} {value.shape} ".encode())
        digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
    elif isinstance(value, Mapping):
        digest.update(b"mapping %d " % len(value))
        for name in sorted(value, key=str):
            feed(digest, name)
            feed(digest, value[name])
    elif isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes):
        digest.update(b"sequence %d " % len(value))
        for item in value:
            feed(digest, item)
    else:
        content = _bytes(value)
        digest.update(b"%s %d " % (type(value).__name__.encode(), len(content)))
        digest.update(content)


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, Path):
        return value.read_bytes() if value.is_file() else str(value).encode()
    return str(value).encode("utf-8", "surrogatepass")
