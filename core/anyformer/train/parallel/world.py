"""The processes of a run: who they are, and what they tell one another.

* `torchrun` starts them. Without it a run is alone, and every call here costs nothing.
* The ranks stand in a mesh of three axes: `replicate` (each has all weights), `shard` (each a part of the weights, FSDP2)
  and `tensor` (each has a part of every layer). Ranks that differ in the first two see different records.
* What is agreed upon (a stop, a step that does not fit in memory) goes over the CPU, so that no GPU is waited for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from anyformer.train.settings import Parallel

MEETING = timedelta(minutes=10)
"""How long a process waits for the others to start."""
PATIENCE = timedelta(hours=4)
"""How long it waits for one that is there, such as the first, which evaluates; one that has died ends the wait at once."""
AXES = ("replicate", "shard", "tensor")
T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The place of this process among those of the run."""

    rank: int = 0
    size: int = 1
    mesh: DeviceMesh | None = None
    """With the axes `replicate`, `shard` and `tensor`; None: alone."""

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks to people."""
        return self.rank == 0

    def along(self, axis: str) -> tuple[int, int]:
        """The place of this process on an axis of the mesh, and how many there are."""
        if self.mesh is None:
            return 0, 1
        return self.mesh.get_local_rank(axis), self.mesh[axis].size()

    @property
    def data(self) -> tuple[int, int]:
        """The place among those that see different records, and how many there are."""
        (copy, _), (part, parts), (_, copies) = self.along("replicate"), self.along("shard"), self.along("replicate")
        return copy * parts + part, copies * parts

    def most(self, values: Sequence[int]) -> list[int]:
        """The greatest of each value over all ranks."""
        if self.size == 1:
            return list(values)
        found = torch.tensor(values, dtype=torch.int64)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return found.tolist()

    def add(self, tensor: Tensor) -> Tensor:
        """The sum over those that see different records, in place."""
        if self.mesh is not None:
            for axis in ("replicate", "shard"):
                if self.along(axis)[1] > 1:
                    dist.all_reduce(tensor, group=self.mesh.get_group(axis))
        return tensor

    def spread(self, tensor: Tensor) -> Tensor:
        """What the first rank has, in place."""
        if self.size > 1:
            dist.broadcast(tensor, src=0)
        return tensor

    def tell(self, value: T) -> T:
        """What the first rank has."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def collect(self, value: T) -> list[T]:
        """What each rank has, in order."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Until all ranks are here."""
        self.most([0])


ALONE = World()


def started() -> int:
    """How many processes `torchrun` has started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def restarted() -> bool:
    """Whether `torchrun` has started them again, after one was lost."""
    return started() > 1 and int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def job() -> str | None:
    """What tells one call of `torchrun` from another: the same when it starts its processes again; None without it."""
    if started() == 1:
        return None
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return name if name != "none" else str(os.getppid())  # without a rendezvous all calls are called none


def meet() -> World:
    """Find the other processes, before it is known how they share the work."""
    if started() == 1:
        return ALONE
    if not dist.is_initialized():
        store, rank, size = next(dist.rendezvous("env://", timeout=MEETING))
        # Started again, processes would find in the store where those before them listened: each attempt has its own place.
        store = dist.PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    return World(dist.get_rank(), dist.get_world_size())


def require_fit(parallel: Parallel) -> None:
    """Raise `ValueError` if the number of processes does not fit the settings."""
    parts, size = parallel.shard * parallel.tensor, started()
    if size % parts:
        raise ValueError(
            f"training.parallel asks for {parallel.shard} x {parallel.tensor} processes, or a multiple of them; there "
            f"{'is' if size == 1 else 'are'} {size}; start them with: torchrun --standalone --nproc-per-node {parts} "
            "-m anyformer ..."
        )


def join(parallel: Parallel, device: torch.device) -> World:
    """Find the other processes of the run. Raises `ValueError` if their number does not fit the settings."""
    require_fit(parallel)
    met = meet()
    if met.size == 1:
        return ALONE
    shape = (met.size // (parallel.shard * parallel.tensor), parallel.shard, parallel.tensor)
    return replace(met, mesh=init_device_mesh(device.type, shape, mesh_dim_names=AXES))


@contextmanager
def lost(world: World, folder: Path) -> Iterator[None]:
    """Within it, the loss of another process of a run is a `ValueError` of one line that says how to go on."""
    try:
        yield
    except RuntimeError as error:
        said = " ".join(str(error).split())
        if world.size == 1 or not (isinstance(error, dist.DistError) or "gloo" in said or "NCCL" in said):
            raise
        raise ValueError(
            f"another process of the run has gone, or cannot be reached: {said[:200]}; what was saved is whole; go on with "
            f"the same number of processes or another: anyformer resume {folder}"
        ) from error


def leave() -> None:
    """Part from the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()
