"""Whether a kernel works on this machine: tried once a process, on small layers, beside `F.linear` in fp32.

What is private to a library, or compiled for some CPUs only, may be missing, raise, or compute something else. Here it shows
before a user's model meets it; a kernel that fails is left out, with a word.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from anyformer.infer.prepare.kernels import Kernel
from anyformer.nn.layers import ACTIVATIONS

SHAPES = ((1, 64, 64), (1, 33, 17), (8, 96, 7), (0, 16, 8), (5, 1, 3), (70, 256, 130))
"""Rows, inputs and outputs that are tried, with and without bias."""


def working(kernels: Sequence[Kernel]) -> list[Kernel]:
    """Those of the kernels that work here; a warning, once a process, for each that does not."""
    return [kernel for kernel in kernels if fault(kernel) is None]


@cache
def fault(kernel: Kernel) -> str | None:
    """What is wrong with a kernel on this machine; None where it works."""
    try:
        with torch.inference_mode():
            found = next((wrong for wrong in _faults(kernel) if wrong), None)
    except Exception as error:  # whatever it is, the answer is to do without this kernel
        found = next(iter(str(error).splitlines()), "") or type(error).__name__
    if found is not None:
        warnings.warn(
            f"the kernel {kernel.name} is not used, for it does not work on this machine: {found}", stacklevel=2
        )
    return found


def _faults(kernel: Kernel) -> Iterator[str | None]:
    generator = torch.Generator().manual_seed(0)
    for num_rows, num_inputs, num_outputs in SHAPES:
        x_MK = torch.randn(num_rows, num_inputs, generator=generator)
        weight_NK = torch.randn(num_outputs, num_inputs, generator=generator) / num_inputs**0.5
        bias_N = torch.randn(num_outputs, generator=generator)
        for bias in (bias_N, None):
            yield _compared(kernel, x_MK, weight_NK, bias, None)
    for activation in ACTIVATIONS:
        yield _compared(kernel, x_MK, weight_NK, bias_N, activation)
    # As great as int8 goes, everywhere: where sums of products overflow, it shows here. One input is below 0.
    extreme_MK = torch.ones(4, 256)
    extreme_MK[0, 0] = -1
    yield _compared(kernel, extreme_MK, torch.ones(32, 256), None, None)


def _compared(
    kernel: Kernel, x_MK: Tensor, weight_NK: Tensor, bias_N: Tensor | None, activation: str | None
) -> str | None:  # fmt: skip
    true_MN = F.linear(x_MK, weight_NK, bias_N)
    if activation is not None:
        true_MN = ACTIVATIONS[activation](true_MN)
    found_MN = kernel.pack(weight_NK.clone(), bias_N, activation)(x_MK.to(kernel.dtype))
    shape = f"[{len(x_MK)}, {weight_NK.shape[1]}] x [{weight_NK.shape[1]}, {len(weight_NK)}]"
    if found_MN.shape != true_MN.shape or found_MN.dtype != kernel.dtype:
        return f"{shape} gives {list(found_MN.shape)} of {found_MN.dtype}"
    if not true_MN.numel():
        return None
    error = float((found_MN.float() - true_MN).norm() / true_MN.norm())
    return None if error <= kernel.tolerance else f"relative error {error:.1e} at {shape}"
