"""Which kernel a layer gets: timed on this machine, for few rows and for many, once for each class of shapes.

* Few rows are a decoding step, which waits for the weight to arrive from memory; many rows are a pack, which waits for
  arithmetic. The best kernel is often not the same.
* Where it is not, a layer keeps two packings if the second pays and the memory is there; else the kernel that loses least.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import cache

import torch

from anyformer.infer.prepare.kernels import Kernel

FEW = 16
"""Rows up to which a call has few."""
PAYS = 1.25
"""How much faster a second packing must be."""
_TIMED_FEW = 4
_WIDEST = 16384
"""Inputs and outputs that are timed at most; what is wider, as vocabularies are, behaves alike."""
_PRODUCTS = 1e9
"""Multiplications of a timed call with many rows: a few milliseconds on one core."""
_MOST_ROWS = 4096
"""Of a timed call: narrow layers wait for memory, which shows only where their rows leave the caches."""
_ROUNDS = 3


def choose(
    kernels: Sequence[Kernel], num_inputs: int, num_outputs: int, activation: str | None = None
) -> tuple[Kernel, Kernel]:  # fmt: skip
    """The kernels for few rows and for many, of those that work; the same one twice where a second does not pay."""
    if len(kernels) == 1:
        return kernels[0], kernels[0]
    shape = (_class(num_inputs), _class(num_outputs))
    few, many = (
        seconds(tuple(kernels), *shape, rows, activation, torch.get_num_threads())
        for rows in (_TIMED_FEW, _many(*shape))
    )
    # The loss of each kernel where it is worst, beside the best there.
    loss = {kernel: max(few[kernel] / min(few.values()), many[kernel] / min(many.values())) for kernel in kernels}
    only = min(kernels, key=lambda kernel: loss[kernel])
    if loss[only] < PAYS:
        return only, only
    return min(kernels, key=lambda kernel: few[kernel]), min(kernels, key=lambda kernel: many[kernel])


@cache
def seconds(
    kernels: tuple[Kernel, ...], num_inputs: int, num_outputs: int, num_rows: int, activation: str | None,
    num_threads: int,
) -> dict[Kernel, float]:  # fmt: skip
    """The least time of a call by kernel, taken in turns so that a busy moment meets all of them."""
    generator = torch.Generator().manual_seed(0)
    weight_NK = torch.randn(num_outputs, num_inputs, generator=generator) / num_inputs**0.5
    x_MK = torch.randn(num_rows, num_inputs, generator=generator)
    with torch.inference_mode():
        calls = {kernel: (kernel.pack(weight_NK, None, activation), x_MK.to(kernel.dtype)) for kernel in kernels}
        found = dict.fromkeys(kernels, float("inf"))
        for number in range(_ROUNDS + 1):
            for kernel, (run, rows) in calls.items():
                began = time.perf_counter()
                run(rows)
                if number:  # the first call also builds what the library keeps for a shape
                    found[kernel] = min(found[kernel], time.perf_counter() - began)
    return found


def spare_memory() -> int:
    """Bytes that second packings of a model may take: a quarter of what is free; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") // 4
    except (AttributeError, OSError, ValueError):
        return 0


def _class(width: int) -> int:
    """Widths of one class: rounded up to a power of two, or to one and a half of one."""
    power = 1 << max(width - 1, 1).bit_length()
    return min(_WIDEST, power * 3 // 4 if width <= power * 3 // 4 else power)


def _many(num_inputs: int, num_outputs: int) -> int:
    return max(32, min(_MOST_ROWS, int(_PRODUCTS / (num_inputs * num_outputs))))
