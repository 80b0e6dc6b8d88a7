"""How weights travel between a checkpoint's file and our model: steps that can be read and written.

A table of weights is a function from the checkpoint's configuration to steps. A step names keys of the file and keys of our
model, and says what happens to the tensors on the way, in both directions:

| step         | the file has                                  | our model has                         |
|--------------|-----------------------------------------------|---------------------------------------|
| `same`       | a tensor                                      | the same                              |
| `linear`     | `.weight`, and `.bias` unless told otherwise  | the same; also for norms              |
| `transposed` | `.weight` [in, out], and `.bias`              | `.weight` [out, in], and `.bias`      |
| `fused`      | one tensor                                    | several, along the first axis         |
| `mapped`     | a tensor                                      | what a pair of functions makes of it  |
| `tied`       | a copy of another weight, or nothing          | one weight                            |
| `constant`   | a buffer that can be computed, or nothing     | nothing                               |
| `kept`       | a tensor that the task does not use, or none  | nothing; it is stored for the way back|

* What the file must hold follows from `write`, run on tensors without data: a shape is never written down twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Change = Callable[[Sequence[Tensor]], Sequence[Tensor]]


def _unchanged(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    return tensors


@dataclass(frozen=True)
class Step:
    """One row of a table of weights."""

    theirs: tuple[str, ...]
    """Keys of the file."""
    ours: tuple[str, ...] = ()
    """Keys of our model: `trunk.`, `embedding.` or `head.` in front."""
    read: Change = _unchanged
    """From the file's tensors to ours."""
    write: Change = _unchanged
    """From ours to the file's."""
    kind: Literal["weight", "tied", "constant", "kept"] = "weight"
    new: bool = False
    """A tied weight or a constant that is written for a model that never had a file, too."""


def same(theirs: str, ours: str) -> Step:
    """The same tensor under another name."""
    return Step((theirs,), (ours,))


def linear(theirs: str, ours: str, bias: bool = True) -> Iterator[Step]:
    """`.weight`, and `.bias` where there is one: of a linear layer, a norm, a table."""
    yield same(f"{theirs}.weight", f"{ours}.weight")
    if bias:
        yield same(f"{theirs}.bias", f"{ours}.bias")


def transposed(theirs: str, ours: str) -> Iterator[Step]:
    """A linear layer whose weight the file keeps as [in, out], and its bias."""
    yield mapped(f"{theirs}.weight", f"{ours}.weight", Tensor.t, Tensor.t)
    yield same(f"{theirs}.bias", f"{ours}.bias")


def mapped(theirs: str, ours: str, read: Callable[[Tensor], Tensor], write: Callable[[Tensor], Tensor]) -> Step:
    """One tensor, changed on the way in by `read` and on the way out by `write`."""
    return Step((theirs,), (ours,), lambda found: [read(found[0])], lambda own: [write(own[0])])


def fused(theirs: str, ours: Sequence[str], sizes: Sequence[int], axis: int = 0, transpose: bool = False) -> Step:
    """One tensor of the file that is several of ours, of `sizes` along the file's axis `axis`.

    With `transpose`, ours are the transposes of the file's pieces.
    """

    def read(found: Sequence[Tensor]) -> Sequence[Tensor]:
        pieces = found[0].split(list(sizes), dim=axis)
        return [piece.t() for piece in pieces] if transpose else pieces

    def write(own: Sequence[Tensor]) -> Sequence[Tensor]:
        pieces = [piece.t() for piece in own] if transpose else list(own)
        return [torch.cat(pieces, dim=axis)]

    return Step((theirs,), tuple(ours), read, write)


def tied(theirs: str, ours: str, new: bool = False) -> Step:
    """A second key for one weight: it may be absent, and must be equal where it is not."""
    return Step((theirs,), (ours,), kind="tied", new=new)


def constant(theirs: str, make: Callable[[], Tensor], new: bool = False) -> Step:
    """A buffer that the model computes; a file that holds another value is refused."""
    return Step((theirs,), write=lambda _: [make()], kind="constant", new=new)


def kept(*theirs: str) -> Iterator[Step]:
    """Tensors that the model does not use: stored as they are, so that an export is whole."""
    return (Step((name,), kind="kept") for name in theirs)
