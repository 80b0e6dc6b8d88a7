"""The kernels that a frozen linear layer may run on: how each packs a weight, and what it then computes.

Axis legend: M rows, K inputs, N outputs.

* oneDNN packs a weight once into the layout its products read, and adds the bias and the activation in the same pass.
* int8: weights symmetric by output, activations by one scale of the whole call, found on the way. Two libraries do it, and
  which is faster depends on the shape.
* fp16 weights with fp32 arithmetic: half the memory traffic, which is what a product of few rows waits for.
* Nearly all of it is private to PyTorch. Nothing here is used before `anyformer.infer.prepare.probe` has tried it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from anyformer.nn.layers import ACTIVATIONS

Run = Callable[[Tensor], Tensor]
"""A packed layer: rows [M, K] to [M, N], both in the kernel's dtype."""
_ONEDNN_NAMES = {
    "gelu": ("gelu", "none"), "gelu_tanh": ("gelu", "tanh"), "relu": ("relu", ""), "silu": ("swish", ""),
    "tanh": ("tanh", ""),
}  # fmt: skip
"""Our activations as oneDNN calls them: name and algorithm."""
_SMALLEST_SCALE = 1e-12
"""Of int8, so that a weight or an input of zeros divides by something."""


@dataclass(frozen=True)
class Kernel:
    """One way to compute a linear layer."""

    name: str
    dtype: torch.dtype
    """Of the rows it reads and gives."""
    tolerance: float
    """Relative error at most beside `torch.nn.functional.linear` in fp32, in the Frobenius norm."""
    pack: Callable[[Tensor, Tensor | None, str | None], Run]
    """From a weight [N, K] in fp32, a bias [N] and the name of an activation to a packed layer."""


def plain(dtype: torch.dtype) -> Kernel:
    """`torch.nn.functional.linear`: works everywhere; in fp32 it keeps the weight that it is given, without a copy."""
    name = "F.linear" if dtype == torch.float32 else f"F.linear in {str(dtype).removeprefix('torch.')}"
    return Kernel(name, dtype, 1e-6 if dtype == torch.float32 else 2e-2, partial(_pack_plain, dtype))


def onednn(dtype: torch.dtype) -> Kernel:
    """oneDNN with a packed weight, in fp32 or bf16."""
    name = f"oneDNN in {str(dtype).removeprefix('torch.')}"
    return Kernel(name, dtype, 1e-5 if dtype == torch.float32 else 2e-2, partial(_pack_onednn, dtype))


def _pack_plain(dtype: torch.dtype, weight_NK: Tensor, bias_N: Tensor | None, activation: str | None) -> Run:
    weight = weight_NK.to(dtype)
    bias = None if bias_N is None else bias_N.to(dtype)
    if activation is None:
        return lambda x_MK: F.linear(x_MK, weight, bias)
    after = ACTIVATIONS[activation]
    return lambda x_MK: after(F.linear(x_MK, weight, bias))


def _pack_onednn(dtype: torch.dtype, weight_NK: Tensor, bias_N: Tensor | None, activation: str | None) -> Run:
    packed = torch.ops.mkldnn._reorder_linear_weight(weight_NK.to(dtype).contiguous())
    bias = None if bias_N is None else bias_N.to(dtype)
    name, algorithm = ("none", "") if activation is None else _ONEDNN_NAMES[activation]
    linear = torch.ops.mkldnn._linear_pointwise.default
    return lambda x_MK: linear(x_MK, packed, bias, name, [], algorithm)


def _rounded(weight_NK: Tensor) -> tuple[Tensor, Tensor]:
    """A weight as int8 [N, K] and the scale of each output [N]; -128 is not used, so that both signs reach as far."""
    scale_N = (weight_NK.abs().amax(1) / 127).clamp(min=_SMALLEST_SCALE)
    return (weight_NK / scale_N[:, None]).round().clamp(-127, 127).to(torch.int8), scale_N


def _pack_fbgemm_int8(
    narrow_range: bool, weight_NK: Tensor, bias_N: Tensor | None, activation: str | None
) -> Run:  # fmt: skip
    """`narrow_range` rounds activations to 7 bits: without VNNI, sums of two products of 8 bits overflow."""
    scale_N = (weight_NK.abs().amax(1) / 127).clamp(min=_SMALLEST_SCALE).double()
    with warnings.catch_warnings():  # the type of the tensor is deprecated, the packed layer is not
        warnings.simplefilter("ignore")
        weight = torch.quantize_per_channel(
            weight_NK.contiguous(), scale_N, torch.zeros(len(scale_N), dtype=torch.int64), 0, torch.qint8
        )
        packed = torch.ops.quantized.linear_prepack(weight, bias_N)
    if activation == "relu":
        joint = torch.ops.quantized.linear_relu_dynamic.default
        return lambda x_MK: joint(x_MK, packed, narrow_range)
    linear = torch.ops.quantized.linear_dynamic.default
    return _then(lambda x_MK: linear(x_MK, packed, narrow_range), activation)


def _pack_onednn_int8(weight_NK: Tensor, bias_N: Tensor | None, activation: str | None) -> Run:
    weight, scale_N = _rounded(weight_NK)
    packed = torch.ops.onednn.qlinear_prepack(weight, None)
    zeros_N = torch.zeros(len(scale_N), dtype=torch.int32)
    name, algorithm = ("none", "none") if activation is None else _ONEDNN_NAMES[activation]
    linear = torch.ops.onednn.qlinear_pointwise.default
    middle = torch.tensor(128.5)

    def run(x_MK: Tensor) -> Tensor:
        if not len(x_MK):
            return x_MK.new_empty(0, len(scale_N))
        low, high = x_MK.aminmax()
        scale = max(float(high), -float(low), 127 * _SMALLEST_SCALE) / 127
        # Unsigned with 128 for zero: the form of the instructions that every CPU with int8 products has. Rounded in two
        # passes: what is cut off after a half is added is rounded, and nothing is beyond 1.5 to 255.5.
        rounded = torch.add(middle, x_MK, alpha=1 / scale).to(torch.uint8)
        return linear(rounded, scale, 128, packed, scale_N, zeros_N, bias_N, 1.0, 0, torch.float32, name, [], algorithm)

    return run


def _pack_fp16(weight_NK: Tensor, bias_N: Tensor | None, activation: str | None) -> Run:
    if float(weight_NK.abs().max()) > torch.finfo(torch.float16).max:
        raise RuntimeError("a weight is beyond the range of fp16")
    packed = torch.ops.quantized.linear_prepack_fp16(weight_NK.contiguous(), bias_N)
    linear = torch.ops.quantized.linear_dynamic_fp16.default
    return _then(lambda x_MK: linear(x_MK, packed), activation)


def _then(run: Run, activation: str | None) -> Run:
    if activation is None:
        return run
    after = ACTIVATIONS[activation]
    return lambda x_MK: after(run(x_MK))


PLAIN = plain(torch.float32)
"""The fall-back of every other."""
FP32 = onednn(torch.float32)
BF16 = onednn(torch.bfloat16)
INT8 = Kernel("fbgemm int8", torch.float32, 5e-2, partial(_pack_fbgemm_int8, False))
INT8_NARROW = Kernel("fbgemm int8 of 7 bits", torch.float32, 1e-1, partial(_pack_fbgemm_int8, True))
INT8_ONEDNN = Kernel("oneDNN int8", torch.float32, 5e-2, _pack_onednn_int8)
FP16_WEIGHTS = Kernel("fbgemm fp16 weights", torch.float32, 2e-3, _pack_fp16)
