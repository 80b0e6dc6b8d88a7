"""Checkpoints: a manifest and safetensors, no pickle, whole or absent.

* Each rank writes its tensors as safetensors; `manifest.json`, written last, names every tensor's global shape, dtype,
  slices, file and checksum, and carries the scalars. Any number of ranks can read the slices that meet its own shard.
* Everything is written aside, synced to disk and renamed: a reader sees a whole checkpoint or none, wherever a kill falls.
* The newest whole checkpoint is found by looking, never by a pointer.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

FORMAT = 1
_ASIDE = ".writing-"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds."""

    step: int
    tensors: dict[str, torch.Tensor]
    scalars: dict[str, Any]


def save(folder: Path, step: int, tensors: Mapping[str, torch.Tensor], scalars: Mapping[str, Any], keep: int) -> Path:
    """Write the checkpoint of `step` into `folder`, then remove all but the newest `keep`; returns its path.

    Raises `OSError` if it cannot be written (a full disk); the earlier checkpoints are then untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{step:08d}"
    aside = folder / f"{_ASIDE}{step:08d}"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir()
        file = aside / "rank0.safetensors"
        flat = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
        save_file(flat, file)
        manifest = {
            "format": FORMAT,
            "step": step,
            "scalars": dict(scalars),
            "files": {file.name: _checksum(file)},
            "tensors": {name: _describe(tensor, file.name) for name, tensor in flat.items()},
        }
        _sync(file)
        write_synced(aside / "manifest.json", json.dumps(manifest))
        sync_folder(aside)
        if target.exists():
            shutil.rmtree(target)
        aside.rename(target)
        sync_folder(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    for old in _steps(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and a line about each newer one that is not."""
    problems: list[str] = []
    for path in reversed(_steps(folder)):
        try:
            return load(path), problems
        except ValueError as error:
            problems.append(str(error))
    return None, problems


def load(path: Path) -> Checkpoint:
    """Read one checkpoint. Raises `ValueError` naming what is missing or damaged."""
    try:
        manifest = json.loads((path / "manifest.json").read_text())
    except (OSError, ValueError):
        raise ValueError(f"checkpoint {path} has no readable manifest.json; it was not finished") from None
    if manifest.get("format") != FORMAT:
        raise ValueError(f"checkpoint {path} has format {manifest.get('format')!r}; this version reads {FORMAT}")
    tensors: dict[str, torch.Tensor] = {}
    for name, checksum in manifest["files"].items():
        file = path / name
        if Path(name).name != name or not file.is_file():
            raise ValueError(f"checkpoint {path} lacks its file {name!r}")
        if _checksum(file) != checksum:
            raise ValueError(f"checkpoint {path} is damaged: {name} does not match its checksum")
        tensors.update(load_file(file))
    missing = sorted(set(manifest["tensors"]) - set(tensors))
    if missing:
        raise ValueError(f"checkpoint {path} lacks the tensor {missing[0]!r}")
    return Checkpoint(int(manifest["step"]), tensors, manifest["scalars"])


def remove_unfinished(folder: Path) -> None:
    """Clear what a kill left half-written."""
    for path in folder.glob(f"{_ASIDE}*"):
        shutil.rmtree(path, ignore_errors=True)


def write_synced(path: Path, text: str) -> None:
    """Write text and wait until it is on disk."""
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _steps(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[0-9]" * 8) if path.is_dir())


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _describe(tensor: torch.Tensor, file: str) -> dict[str, Any]:
    shape = list(tensor.shape)
    return {"shape": shape, "dtype": str(tensor.dtype), "slices": [[0, size] for size in shape], "file": file}
