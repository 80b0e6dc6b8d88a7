"""The manifest of a checkpoint: what it holds and where, in JSON, under a checksum of its own.

* Nothing in it is trusted: names, numbers and shapes are checked before a file is opened or memory is taken.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from anyformer.description import validated
from anyformer.train import pieces
from anyformer.train.pieces import Slices

NAME = "manifest.json"
FORMAT = 2
Range = Annotated[list[NonNegativeInt], Field(min_length=2, max_length=2)]


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class PieceEntry(_Entry):
    """A part of a tensor."""

    slices: list[Range]
    """From where to where on each axis."""
    file: str
    """Which holds it under the tensor's name."""

    @property
    def part(self) -> Slices:
        """As pieces are described in memory."""
        return tuple((start, stop) for start, stop in self.slices)


class TensorEntry(_Entry):
    """A tensor."""

    shape: list[NonNegativeInt]
    """Of the whole."""
    dtype: str
    pieces: list[PieceEntry]


class Manifest(_Entry):
    """All that a checkpoint holds."""

    format: int = FORMAT
    step: NonNegativeInt
    scalars: dict[str, Any]
    files: dict[str, str]
    """The checksum of each file, by its name."""
    tensors: dict[str, TensorEntry]

    def fault(self) -> str | None:
        """What is wrong with a file's name or the pieces of a tensor; None: nothing."""
        for file in self.files:
            if not re.fullmatch(r"rank[0-9]+\.safetensors", file):
                return (
                    f"it names the file {file[:80]!r}; its files are called rank0.safetensors, rank1.safetensors, ..."
                )
        for name, entry in self.tensors.items():
            files = [piece.file for piece in entry.pieces]
            if unknown := set(files) - set(self.files):
                return f"the tensor {name!r} lies in {min(unknown)!r}, which is no file of this checkpoint"
            if len(set(files)) < len(files):
                return f"the tensor {name!r} has two pieces in one file"
            if (wrong := pieces.fault(entry.shape, [piece.part for piece in entry.pieces])) is not None:
                return f"the tensor {name!r} {wrong}"
        return None


def write(manifest: Manifest, folder: Path) -> None:
    """Write it into a checkpoint's folder."""
    assert (wrong := manifest.fault()) is None, wrong
    page = manifest.model_dump()
    (folder / NAME).write_text(json.dumps({**page, "checksum": _seal(page)}))


def read(folder: Path) -> Manifest:
    """Read that of a checkpoint. Raises `ValueError` in one line if it is missing, damaged or contradicts itself."""
    try:
        page = json.loads((folder / NAME).read_text())
    except (OSError, ValueError, RecursionError):
        raise ValueError(f"checkpoint {folder} has no {NAME} that can be read") from None
    found = page.get("format") if isinstance(page, dict) else page
    if found != FORMAT:
        raise ValueError(f"checkpoint {folder}: {NAME} has format {repr(found)[:80]}; this version reads {FORMAT}")
    if page.pop("checksum", None) != _seal(page):
        raise ValueError(f"checkpoint {folder} is damaged: {NAME} does not match its checksum")
    manifest = validated(Manifest, page, f"checkpoint {folder}: {NAME}")
    if (wrong := manifest.fault()) is not None:
        raise ValueError(f"checkpoint {folder} is damaged: {wrong}")
    return manifest


def _seal(page: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(page).encode()).hexdigest()
