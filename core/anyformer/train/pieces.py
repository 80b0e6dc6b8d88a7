"""Tensors in pieces: the part of one that a process has, and one on disk that is read by the slices that are needed.

* A part is a box: a range on each axis. The parts of a DTensor, whatever its mesh and placements, are such boxes.
* What is stored may be cut otherwise than what it is read into: each piece gives what it shares with the part asked for.
* Bytes are read when they are copied, and only those: a piece is a view of its file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

Slices = tuple[tuple[int, int], ...]
"""From where to where on each axis, as in `range`."""


class Source(Protocol):
    """Where the values of a piece lie: cut as a tensor is cut."""

    def __getitem__(self, index: tuple[slice, ...], /) -> Tensor: ...


@dataclass(frozen=True)
class Piece:
    """A part of a tensor."""

    slices: Slices
    """Of the whole."""
    source: Source


@dataclass(frozen=True)
class Stored:
    """A tensor on disk, in pieces that cover it exactly."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    pieces: tuple[Piece, ...]

    def read(self, slices: Slices | None = None) -> Tensor:
        """The tensor, or what `slices` cut out of it, on the CPU."""
        if slices is None:
            slices = whole_of(self.shape)
        assert len(slices) == len(self.shape), slices
        assert all(0 <= a <= b <= size for (a, b), size in zip(slices, self.shape, strict=True)), slices
        found = torch.empty([stop - start for start, stop in slices], dtype=self.dtype)
        self.copy_to(found, slices)
        return found

    def copy_to(self, target: Tensor, slices: Slices) -> None:
        """Copy what `slices` cut out of the tensor to `target`, of their shape."""
        for piece in self.pieces:
            both = _meet(piece.slices, slices)
            if both is not None:
                target[_within(slices, both)].copy_(piece.source[_within(piece.slices, both)])


def whole_of(shape: Sequence[int]) -> Slices:
    """The slices of all of a tensor."""
    return tuple((0, size) for size in shape)


def part(tensor: Tensor) -> tuple[Slices, Tensor]:
    """Which part of a tensor this process has, and its values, which share memory with it."""
    if not isinstance(tensor, DTensor):
        return whole_of(tensor.shape), tensor.detach()
    assert not any(placement.is_partial() for placement in tensor.placements), tensor.placements
    own = tensor.to_local().detach()
    shape, starts = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    assert tuple(shape) == tuple(own.shape), (shape, own.shape)
    return tuple((start, start + size) for start, size in zip(starts, shape, strict=True)), own


@torch.no_grad()
def fill(target: Tensor, given: Stored | Tensor) -> None:
    """Give this process's part of `target` its values.

    Args:
        target: plain, or a DTensor, whose processes each fill their own part.
        given: on disk, or whole in memory.

    Raises `ValueError` if shape or dtype differ; nothing is changed then.
    """
    if (wrong := _misfit(given, target)) is not None:
        raise ValueError(f"a tensor {wrong}")
    slices, own = part(target)
    if isinstance(given, Stored):
        given.copy_to(own, slices)
    else:
        own.copy_(given[tuple(slice(*each) for each in slices)])


def fill_all(targets: Mapping[str, Tensor], given: Mapping[str, Stored | Tensor], where: str) -> None:
    """The same for tensors by name, which must be those of the targets; `where` they come from begins what is said.

    Raises `ValueError` naming the first that is missing, unknown, or of another shape or dtype; nothing is changed then.
    """
    for name in targets:
        if name not in given:
            raise ValueError(f"{where} lacks the weight {name!r}")
    for name, each in given.items():
        if name not in targets:
            raise ValueError(f"{where} has the weight {name!r}, which the model does not know")
        if (wrong := _misfit(each, targets[name])) is not None:
            raise ValueError(f"{where}: {name!r} {wrong}")
    for name, target in targets.items():
        fill(target, given[name])


def divide(parts: Sequence[Mapping[str, tuple[Slices, int]]]) -> dict[tuple[str, Slices], int]:
    """The process that writes each part: of those that have it, the one that has least to write so far.

    Args:
        parts: by process, then by the tensor's name: the part it has, and its bytes. Empty parts are nobody's.
    """
    holders: dict[tuple[str, Slices], list[int]] = {}
    sizes: dict[tuple[str, Slices], int] = {}
    for rank, own in enumerate(parts):
        for name, (slices, size) in own.items():
            if size:
                holders.setdefault((name, slices), []).append(rank)
                sizes[name, slices] = size
    loads = [0] * len(parts)
    writers = {}
    # First what only one has, then the big ones of what is left.
    for key in sorted(holders, key=lambda key: (len(holders[key]), -sizes[key])):
        writers[key] = min(holders[key], key=lambda rank: loads[rank])
        loads[writers[key]] += sizes[key]
    return writers


def fault(shape: Sequence[int], pieces: Sequence[Slices]) -> str | None:
    """What is wrong with pieces that should cover a tensor exactly, each place once; None: nothing. Allocates nothing."""
    if math.prod(max(size, 1) for size in shape) >= 2**63:
        return f"has the shape {list(shape)}, which is too big for any tensor"
    for slices in pieces:
        if len(slices) != len(shape) or not all(0 <= a < b <= size for (a, b), size in zip(slices, shape, strict=True)):
            return f"has a piece {_show(slices)}, which does not lie in its shape {list(shape)}"
    ordered = sorted(pieces)
    for place, one in enumerate(ordered):
        for other in ordered[place + 1 :]:
            if one and other[0][0] >= one[0][1]:
                break  # nor does any after it
            if _meet(one, other) is not None:
                return f"has pieces that overlap: {_show(one)} and {_show(other)}"
    there = sum(math.prod(stop - start for start, stop in slices) for slices in pieces)
    if there != math.prod(shape):
        return f"lacks pieces: {there} of its {math.prod(shape)} values are there"
    return None


def _misfit(given: Stored | Tensor, target: Tensor) -> str | None:
    if tuple(given.shape) != tuple(target.shape):
        return f"has shape {list(given.shape)}; the model needs {list(target.shape)}"
    if given.dtype != target.dtype:
        return f"is {given.dtype}; the model needs {target.dtype}"
    return None


def _show(slices: Slices) -> str:
    return f"[{', '.join(f'{start}:{stop}' for start, stop in slices)}]"


def _meet(one: Slices, other: Slices) -> Slices | None:
    """What two parts share; None: nothing."""
    both = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(one, other, strict=True))
    return both if all(start < stop for start, stop in both) else None


def _within(outer: Slices, inner: Slices) -> tuple[slice, ...]:
    """Where a part of a part lies in it."""
    return tuple(slice(a - start, b - start) for (start, _), (a, b) in zip(outer, inner, strict=True))
