"""What the machine allows: its best rate of products and of reading memory, measured in the same run as a case.

* A job is a row of phases. Each waits for arithmetic or for memory, whichever takes longer; nothing else is counted.
* The rate of products is the best of the kernels of a precision on one large product, activations rounded in the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from anyformer.infer.prepare import kernels
from anyformer.infer.prepare.probe import working

KERNELS = {
    "fp32": (kernels.PLAIN, kernels.FP32),
    "bf16": (kernels.plain(torch.bfloat16), kernels.BF16),
    "int8": (kernels.INT8, kernels.INT8_ONEDNN),
    "fp16-weights": (kernels.PLAIN, kernels.FP32),
}
BYTES = {"fp32": 4, "bf16": 2, "int8": 1, "fp16-weights": 2}
"""Of a weight."""
ROWS, INPUTS, OUTPUTS = 1024, 1024, 4096
READ = 2**28
"""Bytes that are read: far more than caches hold."""


@dataclass(frozen=True)
class Phase:
    """A part of a job that is done `count` times, one after another."""

    flops: float
    """Floating-point operations, a multiply and an add as two."""
    weights: float = 0
    """Weights that are read."""
    count: int = 1


@dataclass(frozen=True)
class Limits:
    """Rates of this machine, at this moment."""

    precision: str
    flops: float
    """Operations a second."""
    bytes: float
    """Bytes a second."""

    @classmethod
    def measured(cls, precision: str, quick: bool) -> Limits:
        """The best of several tries."""
        tries = 4 if quick else 10
        x_MK, weight_NK = torch.randn(ROWS, INPUTS), torch.randn(OUTPUTS, INPUTS) / INPUTS**0.5
        with torch.inference_mode():
            products = [
                _least(kernel.pack(weight_NK, None, None), x_MK.to(kernel.dtype), tries)
                for kernel in working(KERNELS[precision])
            ]
            memory = _least(torch.sum, torch.ones(READ // 4), tries)
        return cls(precision, 2 * ROWS * INPUTS * OUTPUTS / min(products), READ / memory)

    def seconds(self, phases: Sequence[Phase]) -> float:
        """The least time that these phases take."""
        read = BYTES[self.precision] / self.bytes
        return sum(phase.count * max(phase.flops / self.flops, phase.weights * read) for phase in phases)


def _least(function: Callable[[torch.Tensor], Any], given: torch.Tensor, tries: int) -> float:
    function(given)
    found = float("inf")
    for _ in range(tries):
        began = time.perf_counter()
        function(given)
        found = min(found, time.perf_counter() - began)
    return found
