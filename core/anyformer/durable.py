"""Folders that are whole or absent, wherever a kill, a power cut or a full disk falls.

* A folder is written aside, synced to disk and renamed: a reader sees all of it or nothing.
* What the operating system refuses is an `OSError` with its reason, whichever library met it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

_ASIDE = ".writing-"


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `folder` when the block ends; if the block raises, it is removed."""
    try:
        yield begin(folder)
        finish(folder)
    except BaseException:
        abandon(folder)
        raise


def aside(folder: Path) -> Path:
    """Where `folder` is written until it is whole."""
    return folder.with_name(_ASIDE + folder.name)


def begin(folder: Path) -> Path:
    """A new, empty folder aside, which several processes may fill; `finish` or `abandon` must follow."""
    abandon(folder)
    aside(folder).mkdir(parents=True)
    return aside(folder)


def finish(folder: Path) -> None:
    """Sync what was written aside, and let it take the place of `folder`."""
    written = aside(folder)
    for path in [*sorted(written.rglob("*")), written]:
        sync(path)
    if folder.exists():
        shutil.rmtree(folder)
    written.rename(folder)
    sync(folder.parent)


def abandon(folder: Path) -> None:
    """Remove what was written aside."""
    shutil.rmtree(aside(folder), ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Clear what a kill left half-written in `folder`."""
    for path in folder.glob(f"{_ASIDE}*"):
        shutil.rmtree(path, ignore_errors=True)


def sync(path: Path) -> None:
    """Wait until the bytes of a file, or the names in a folder, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write tensors as safetensors. Raises `OSError` where there is no room, as writing text does."""
    try:
        save_file(dict(tensors), path, metadata={"format": "pt"})
    except SafetensorError as error:
        found = re.search(r"\(os error (\d+)\)", str(error))
        if found is None:
            raise
        number = int(found[1])
        raise OSError(number, os.strerror(number), str(path)) from None
