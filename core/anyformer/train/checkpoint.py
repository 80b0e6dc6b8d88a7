"""Checkpoints: a manifest and safetensors, no pickle, whole or absent.

* Each rank writes its tensors as safetensors; `manifest.json`, written last, names every tensor's global shape, dtype,
  slices, file and checksum, and carries the scalars. Any number of ranks can read the slices that meet its own shard.
* Everything is written aside, synced to disk and renamed: a reader sees a whole checkpoint or none, wherever a kill falls.
* Every byte is under a checksum, the manifest's own included.
* The newest whole checkpoint is found by looking, never by a pointer.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from anyformer import durable

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds."""

    step: int
    tensors: dict[str, torch.Tensor]
    scalars: dict[str, Any]


def save(folder: Path, step: int, tensors: Mapping[str, torch.Tensor], scalars: Mapping[str, Any], keep: int) -> Path:
    """Write the checkpoint of `step` into `folder`, then remove all up to it but the newest `keep`; returns its path.

    Raises `OSError` if it cannot be written (a full disk); the earlier checkpoints are then untouched.
    """
    target = folder / f"{step:08d}"
    with durable.whole(target) as aside:
        file = aside / "rank0.safetensors"
        flat = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
        durable.write_tensors(flat, file)
        manifest = {
            "format": FORMAT,
            "step": step,
            "scalars": dict(scalars),
            "files": {file.name: _checksum(file)},
            "tensors": {name: _describe(tensor, file.name) for name, tensor in flat.items()},
        }
        (aside / "manifest.json").write_text(json.dumps({**manifest, "checksum": _seal(manifest)}))
    # A damaged checkpoint that a resume went back behind is newer, and must not push out those that are whole.
    for old in [path for path in paths(folder) if path.name <= target.name][:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and a line about each newer one that is not."""
    problems: list[str] = []
    for path in reversed(paths(folder)):
        try:
            return load(path), problems
        except ValueError as error:
            problems.append(str(error))
    return None, problems


def load(path: Path) -> Checkpoint:
    """Read one checkpoint. Raises `ValueError` naming what is missing or damaged."""
    manifest = _read_manifest(path)
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


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / "manifest.json").read_text())
    except (OSError, ValueError):
        raise ValueError(f"checkpoint {path} has no manifest.json that can be read") from None
    found = manifest.get("format") if isinstance(manifest, dict) else manifest
    if found != FORMAT:
        raise ValueError(f"checkpoint {path}: manifest.json has format {found!r}; this version reads {FORMAT}")
    if manifest.pop("checksum", None) != _seal(manifest):
        raise ValueError(f"checkpoint {path} is damaged: manifest.json does not match its checksum")
    return manifest


def paths(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, whole or damaged, the newest last."""
    return sorted(path for path in folder.glob("[0-9]" * 8) if path.is_dir())


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest).encode()).hexdigest()


def _describe(tensor: torch.Tensor, file: str) -> dict[str, Any]:
    shape = list(tensor.shape)
    return {"shape": shape, "dtype": str(tensor.dtype), "slices": [[0, size] for size in shape], "file": file}
