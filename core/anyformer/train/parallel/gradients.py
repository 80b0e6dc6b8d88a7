"""Gradients over processes: summed over those that hold copies, and the norm of the whole.

* Nothing here waits for a GPU: which gradients exist is agreed upon over the CPU, norms stay tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from anyformer.data.packs import cut
from anyformer.train.parallel.world import World

BUCKET = 32 * 2**20
"""Bytes that are summed in one call."""
_PLAIN = (Tensor, nn.Parameter)


@torch.no_grad()
def sum_gradients(parameters: Iterable[nn.Parameter], world: World) -> None:
    """Sum gradients over the processes that saw other records, in place, but for those that sharding has summed.

    A gradient that some processes lack counts as zero there; one that all lack stays None.
    """
    if world.mesh is None or world.data[1] == 1:
        return
    learned = [weight for weight in parameters if weight.requires_grad]
    exist = world.most([weight.grad is not None for weight in learned])
    for axis in ("replicate", "shard"):
        if world.along(axis)[1] == 1:
            continue
        found = []
        for weight, exists in zip(learned, exist, strict=True):
            if exists and axis not in _axes(weight):
                weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
                found.append(own(weight.grad))
        for bucket in _buckets(found):
            flat = torch.cat([grad.reshape(-1) for grad in bucket])
            dist.all_reduce(flat, group=world.mesh.get_group(axis))
            summed = flat.split([grad.numel() for grad in bucket])
            torch._foreach_copy_(bucket, [part.view_as(grad) for part, grad in zip(summed, bucket, strict=True)])


@torch.no_grad()
def total_norm(parameters: Iterable[nn.Parameter], world: World) -> Tensor:
    """The norm of the gradients over all processes, a scalar on their device and the same on all processes."""
    grads = [weight.grad for weight in parameters if weight.grad is not None]
    return nn.utils.get_total_norm(grads) if world.mesh is None else _norm(grads, world)


def own(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds: memory of its own, not a copy."""
    if type(tensor) in _PLAIN:  # sooner known than that an attribute is not there
        return tensor
    found: Any = tensor
    return found.to_local() if hasattr(tensor, "placements") else tensor


def _norm(grads: Sequence[Tensor], world: World) -> Tensor:
    """The norm of the whole: each process adds its parts, and its share of what others hold as well."""
    assert world.mesh is not None
    device = grads[0].device if grads else torch.device(world.mesh.device_type)
    total = torch.zeros((), dtype=torch.float64, device=device)
    by_copies: dict[int, list[Tensor]] = {}
    for grad in grads:
        by_copies.setdefault(world.size // _num_parts(grad), []).append(own(grad))
    for copies, parts in by_copies.items():
        total += nn.utils.get_total_norm(parts).double().square() / copies
    dist.all_reduce(total)
    return total.sqrt().to(grads[0].dtype if grads else torch.float32)


def _axes(tensor: Any) -> tuple[str, ...]:
    """The axes of the mesh that a tensor is laid out over."""
    return tensor.device_mesh.mesh_dim_names if hasattr(tensor, "placements") else ()


def _num_parts(tensor: Any) -> int:
    """Into how many different parts a tensor is split."""
    if not hasattr(tensor, "placements"):
        return 1
    assert not any(placement.is_partial() for placement in tensor.placements), "gradients are summed"
    pairs = enumerate(tensor.placements)
    return math.prod(tensor.device_mesh.size(axis) for axis, placement in pairs if not placement.is_replicate())


def _alike(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    """Tensors in groups of one dtype and one device."""
    found: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        found.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    return list(found.values())


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors in groups that are summed in one call: alike, in order, about `BUCKET` bytes."""
    for alike in _alike(tensors):
        yield from cut(alike, BUCKET, lambda tensor: tensor.nbytes)
