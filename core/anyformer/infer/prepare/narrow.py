"""Stacks and tables in half precision: what they read and give stays as wide as it was.

Axis legend: T tokens of the pack, D width.

* The residual stream of a stack is narrow, as everything in it; norms and softmax compute in fp32 inside their kernels.
* Embeddings add up in fp32, and heads read fp32: their small layers decide the answer and cost nothing.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from anyformer.nn.attention import Watch
from anyformer.nn.cache import Cache, Memory
from anyformer.nn.pack import Stream
from anyformer.nn.trunk import Stack


class NarrowStack(nn.Module):
    """A stack that computes in half precision."""

    def __init__(self, stack: Stack, dtype: torch.dtype, widens: bool) -> None:
        """`widens` gives the result back in fp32, for a head; a memory stays narrow."""
        super().__init__()
        self.stack = stack
        self.dtype = dtype
        self.widens = widens
        for module in stack.modules():
            if not isinstance(module, nn.BatchNorm1d):  # whose running statistics need the range
                for name, parameter in module.named_parameters(recurse=False):
                    setattr(module, name, nn.Parameter(parameter.to(dtype), requires_grad=False))

    def forward(
        self, stream: Stream, memory: Memory | None = None, cache: Cache | None = None, watch: Watch | None = None,
        deep: bool = False,
    ) -> Stream:  # fmt: skip
        """A stream [T, D] to a stream [T, D], as those of `Stack`; attention maps are shown in fp32."""
        narrow = replace(
            stream, x_TD=stream.x_TD.to(self.dtype), position_TD=self._narrow(stream.position_TD),
            between_NTD=self._narrow(stream.between_NTD),
        )  # fmt: skip
        out: Stream = self.stack(narrow, memory, cache, None if watch is None else _shown_wide(watch), deep)
        return replace(out, x_TD=out.x_TD.float()) if self.widens else out

    def _narrow(self, x: Tensor | None) -> Tensor | None:
        return None if x is None else x.to(self.dtype)


def _shown_wide(watch: Watch) -> Watch:
    return lambda layer, sequence, maps: watch(layer, sequence, maps.float())


class NarrowTable(nn.Module):
    """The rows of a table, kept in half precision and read in fp32."""

    def __init__(self, table: nn.Embedding, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(table.weight.detach().to(dtype), requires_grad=False)

    def forward(self, ids: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape D"]:
        """Ids to their rows [..., D]."""
        return self.weight[ids].float()
