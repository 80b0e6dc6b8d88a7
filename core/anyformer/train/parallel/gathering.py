"""From parts to whole tensors, and back. Every process must take part in what is gathered."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.artifact import unique_tensors


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, on the CPU; what is there already is not copied."""
    found: Any = tensor.detach()
    return (found.full_tensor() if hasattr(found, "placements") else found).cpu()


@torch.no_grad()
def into(target: Tensor, value: Tensor) -> None:
    """Copy a whole tensor into a plain one, or the part that belongs there into this process's part of one."""
    place: Any = target
    if not hasattr(target, "placements"):
        target.copy_(value)
        return
    from torch.distributed.tensor import distribute_tensor

    assert target.shape == value.shape, f"{list(value.shape)} into {list(target.shape)}"
    given = value.to(target.device, target.dtype)
    place.to_local().copy_(distribute_tensor(given, place.device_mesh, place.placements, src_data_rank=None).to_local())


def gathered(model: nn.Module) -> dict[str, Tensor]:
    """All weights and buffers of a model by name, whole and on the CPU, each once."""
    return {name: whole(tensor) for name, tensor in unique_tensors(model).items()}
