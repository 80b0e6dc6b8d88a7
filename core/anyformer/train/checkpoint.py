"""Checkpoints: a manifest and safetensors, no pickle, whole or absent, for any number of processes.

* Each rank writes parts that it has: of a tensor that is spread over ranks its own, of what several have a share. So a
  checkpoint holds each value once. `manifest.json`, written last by the first rank, says where each part lies.
* A load reads the slices that it needs, from whichever files have them: another number of ranks can go on.
* Everything is written aside, synced to disk and renamed: a reader sees a whole checkpoint or none, wherever a kill falls.
* Every byte is under a checksum, the manifest's own included.
* The newest whole checkpoint is found by looking, never by a pointer. All ranks take the same one.
"""

from __future__ import annotations

import errno
import hashlib
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from anyformer import durable
from anyformer.train import manifest as manifests
from anyformer.train.manifest import Manifest, PieceEntry, TensorEntry
from anyformer.train.parallel.world import ALONE, World
from anyformer.train.pieces import Piece, Stored, divide, part

T = TypeVar("T")


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds."""

    step: int
    tensors: Mapping[str, Stored]
    scalars: dict[str, Any]

    def read(self) -> dict[str, Tensor]:
        """All tensors, whole, in memory."""
        return {name: stored.read() for name, stored in self.tensors.items()}


def save(
    folder: Path, step: int, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any], keep: int, world: World = ALONE
) -> Path:
    """Write the checkpoint of `step` into `folder`, then remove all up to it but the newest `keep`; returns its path.

    All ranks call it, with the same names. A plain tensor is the same on all; of a DTensor each rank has a part. The scalars
    are those of the first rank. Raises `OSError` on all ranks if one cannot write (a full disk); the earlier checkpoints are
    then untouched.
    """
    target = folder / f"{step:08d}"
    own = {name: part(tensor) for name, tensor in tensors.items()}
    parts = world.collect({name: (slices, values.nbytes) for name, (slices, values) in own.items()})
    assert all(each.keys() == own.keys() for each in parts), "the ranks have tensors of other names"
    writers = divide(parts)

    def write() -> tuple[str, str]:
        file = durable.aside(target) / _file(world.rank)
        mine = {name: values for name, (slices, values) in own.items() if writers.get((name, slices)) == world.rank}
        durable.write_tensors({name: values.to("cpu").contiguous() for name, values in mine.items()}, file)
        durable.sync(file)
        return file.name, _checksum(file)

    def finish(files: dict[str, str]) -> None:
        entries = {name: TensorEntry(shape=list(t.shape), dtype=str(t.dtype), pieces=[]) for name, t in tensors.items()}
        for (name, slices), rank in writers.items():
            entries[name].pieces.append(PieceEntry(slices=[list(each) for each in slices], file=_file(rank)))
        manifests.write(Manifest(step=step, scalars=dict(scalars), files=files, tensors=entries), durable.aside(target))
        durable.finish(target)

    try:
        _first(world, lambda: durable.begin(target))
        files = dict(_together(world, write))
        _first(world, lambda: finish(files))
    except BaseException:
        if world.leads:
            durable.abandon(target)
        raise
    if world.leads:
        # A damaged checkpoint that a resume went back behind is newer, and must not push out those that are whole.
        for old in [path for path in paths(folder) if path.name <= target.name][:-keep]:
            shutil.rmtree(old, ignore_errors=True)
    return target


def newest(folder: Path, world: World = ALONE) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and a line about each newer one that is not; the same on all ranks."""
    problems: list[str] = []
    for path in world.tell(paths(folder)[::-1]):
        found, problem = None, None
        try:
            found = load(path, world)
        except ValueError as error:
            problem = str(error)
        said = [each for each in world.collect(problem) if each is not None]
        if not said:
            return found, problems
        problems.append(said[0])
    return None, problems


def load(path: Path, world: World = ALONE) -> Checkpoint:
    """Open one checkpoint; its tensors are read when they are asked for.

    In a world of several, each rank compares the checksums of some files, and `newest` hears them all. Raises `ValueError`
    naming what is missing or damaged.
    """
    manifest = manifests.read(path)
    files = {}
    for place, (name, checksum) in enumerate(manifest.files.items()):
        file = path / name
        if not file.is_file():
            raise ValueError(f"checkpoint {path} lacks its file {name!r}")
        try:
            if place % world.size == world.rank and _checksum(file) != checksum:
                raise ValueError(f"checkpoint {path} is damaged: {name} does not match its checksum")
            files[name] = safe_open(file, framework="pt")
        except (OSError, SafetensorError) as error:
            raise ValueError(f"checkpoint {path} is damaged: {name} cannot be read: {error}") from None
    tensors = {}
    for name, entry in manifest.tensors.items():
        try:
            tensors[name] = _open(name, entry, files)
        except ValueError as error:
            raise ValueError(f"checkpoint {path}: {error}") from None
    return Checkpoint(manifest.step, tensors, manifest.scalars)


def require_shared(folder: Path, world: World) -> None:
    """Raise `ValueError` on all ranks if one of them, on another machine, does not see what the first writes to `folder`.

    The folder need not exist yet: then it is the nearest above it that is tried. Raises `OSError` if that refuses writing.
    """
    if world.size == 1:
        return
    there = folder.absolute()
    while not there.is_dir():
        there = there.parent
    probe = world.tell(there / f"probe-{secrets.token_hex(8)}")
    _first(world, lambda: durable.begin(probe))
    blind = [rank for rank, sees in enumerate(world.collect(durable.aside(probe).is_dir())) if not sees]
    if world.leads:
        durable.abandon(probe)
    if blind:
        raise ValueError(
            f"process {blind[0]} of {world.size} does not see what the first one writes to {probe.parent}; "
            "all of them write to one folder: give one on a disk that all machines share"
        )


def paths(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, whole or damaged, the newest last."""
    return sorted(path for path in folder.glob("[0-9]" * 8) if path.is_dir())


def _first(world: World, act: Callable[[], object]) -> None:
    """Let the first rank do something; no rank goes on before it is done."""
    _together(world, lambda: act() if world.leads else None)


def _together(world: World, act: Callable[[], T]) -> list[T]:
    """Let each rank do something; what each found, in order. Raises `OSError` on all ranks if one of them could not."""
    found: list[T] = []
    error: Exception | None = None
    refusal: tuple[int, str] | None = None
    try:
        found.append(act())
    except Exception as raised:
        error = raised
        number, said = getattr(error, "errno", None), getattr(error, "strerror", None)
        refusal = number or errno.EIO, said or f"{type(error).__name__}: {error}"
    heard = world.collect((found, refusal))
    if error is not None:
        raise error
    for rank, (_, theirs) in enumerate(heard):
        if theirs is not None:
            raise OSError(theirs[0], f"{theirs[1]} (process {rank} of {world.size})")
    return [each for given, _ in heard for each in given]


def _open(name: str, entry: TensorEntry, files: Mapping[str, Any]) -> Stored:
    """Raises `ValueError` if a file does not hold what the manifest says; no value is read."""
    dtype = getattr(torch, entry.dtype.removeprefix("torch."), None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"the tensor {name!r} has the dtype {entry.dtype[:80]!r}, which this version of torch has not")
    found = []
    for piece in entry.pieces:
        try:
            source = files[piece.file].get_slice(name)
        except SafetensorError:
            raise ValueError(f"{piece.file} lacks its piece of the tensor {name!r}") from None
        shape = [stop - start for start, stop in piece.slices]
        there = source.get_shape(), source[tuple(slice(0, 0) for _ in shape)].dtype
        if there != (shape, dtype):
            raise ValueError(
                f"{piece.file} has {name!r} with shape {there[0]} and {there[1]}; the manifest says {shape} and {dtype}"
            )
        found.append(Piece(piece.part, source))
    return Stored(tuple(entry.shape), dtype, tuple(found))


def _file(rank: int) -> str:
    return f"rank{rank}.safetensors"


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
