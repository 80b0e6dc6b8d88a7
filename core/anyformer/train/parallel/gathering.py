"""From parts to whole tensors; the way back is `pieces.fill`. Every process must take part in what is gathered."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from anyformer.artifact import unique_tensors


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, on the CPU; what is there already is not copied."""
    found: Any = tensor.detach()
    return (found.full_tensor() if hasattr(found, "placements") else found).cpu()


def gathered(model: nn.Module) -> dict[str, Tensor]:
    """All weights and buffers of a model by name, whole and on the CPU, each once."""
    return {name: whole(tensor) for name, tensor in unique_tensors(model).items()}
