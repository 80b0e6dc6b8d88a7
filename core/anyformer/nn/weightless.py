"""Building a model without memory: on the meta device, and without drawing numbers that nothing can hold.

Drawing on the meta device is not only idle: it takes PyTorch's decompositions, which import the compiler: seconds at
start-up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

DRAWS = (
    "normal_",
    "uniform_",
    "trunc_normal_",
    "kaiming_uniform_",
    "kaiming_normal_",
    "xavier_uniform_",
    "xavier_normal_",
)
"""Functions, of tensors and of `torch.nn.init`, that fill a tensor with random numbers."""


class _Undrawn(TorchFunctionMode):
    """Leaves a tensor without memory as it is where it would be filled with random numbers."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        given: Callable[..., Any] = func
        named = kwargs or {}
        if getattr(func, "__name__", "") in DRAWS:
            tensor = args[0] if args else named.get("tensor")
            if isinstance(tensor, Tensor) and tensor.is_meta:
                return tensor
        return given(*args, **named)


@contextmanager
def weightless() -> Iterator[None]:
    """Modules made in this block are on the meta device: they have shapes and no numbers."""
    with torch.device("meta"), _Undrawn():
        yield
