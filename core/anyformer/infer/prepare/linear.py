"""A linear layer that only answers: its weight packed for the kernels that were chosen for it.

Axis legend: M rows, K inputs, N outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anyformer.infer.prepare.choice import FEW, choose, spare_memory
from anyformer.infer.prepare.kernels import PLAIN, Kernel, Run


class PackedLinear(nn.Module):
    """A linear layer with an activation, by one kernel for calls of few rows and one for calls of many.

    What goes in and what comes out have the same dtype, whatever the kernel computes in. The weight is not kept.
    """

    def __init__(
        self, few: Run, many: Run, dtype: torch.dtype, bias: Tensor | None, num_inputs: int, num_outputs: int
    ) -> None:  # fmt: skip
        super().__init__()
        self.few, self.many, self.dtype = few, many, dtype
        self.in_features, self.out_features = num_inputs, num_outputs
        # The kernels hold what they need. These stand here for those who ask a layer where it runs, and in what.
        self.weight = nn.Parameter(torch.empty(0), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Float[Tensor, "*shape K"]) -> Float[Tensor, "*shape N"]:
        """[..., K] to [..., N]."""
        x_MK = x.reshape(-1, self.in_features).to(self.dtype)
        y_MN = (self.few if len(x_MK) <= FEW else self.many)(x_MK).to(x.dtype)
        return y_MN.view(*x.shape[:-1], self.out_features) if x.ndim != 2 else y_MN

    def extra_repr(self) -> str:
        """The layer's shape, as that of `nn.Linear`."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


@dataclass
class Packer:
    """Makes packed layers of one precision."""

    kernels: Sequence[Kernel]
    """Those that work here, at least one, all of one dtype."""
    spare: int = field(default_factory=spare_memory)
    """Bytes that second packings may still take."""

    def __call__(self, layers: Sequence[nn.Linear], activation: str | None = None) -> PackedLinear:
        """Layers that read the same, as one: their outputs stand beside one another, behind the activation named."""
        weight_NK = _joined([layer.weight.detach() for layer in layers])
        bias_N = _biases(layers)
        num_outputs, num_inputs = weight_NK.shape
        few, many = choose(self.kernels, num_inputs, num_outputs, activation)
        size = weight_NK.numel() * 4
        if few is not many and size > self.spare:
            few = many
        try:
            packed = many.pack(weight_NK, bias_N, activation)
            first = packed if few is many else few.pack(weight_NK, bias_N, activation)
        except RuntimeError:  # this weight is none for the kernel: beyond the range of fp16, say
            few = many = PLAIN
            first = packed = PLAIN.pack(weight_NK, bias_N, activation)
        if few is not many:
            self.spare -= size
        return PackedLinear(first, packed, many.dtype, bias_N, num_inputs, num_outputs)


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))


def _biases(layers: Sequence[nn.Linear]) -> Tensor | None:
    """The biases of the layers [N], 0 for a layer without one; None where none has."""
    if all(layer.bias is None for layer in layers):
        return None
    return _joined(
        [layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias.detach() for layer in layers]
    )
