"""Packs: sequences of different lengths laid end to end. Nothing is ever padded.

Axis legend: T tokens of the pack, B sequences, L length, D width.

* Token-wise work (norms, linears, heads) runs on `[T, ...]` as it is; only attention asks the pack how to split.
* A pack is described twice: `offsets` on the device for kernels, `bounds` on the host for loops. Both are tensors, so that
  compiled code sees shapes and never lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Pack:
    """How `T` tokens split into `B` sequences."""

    bounds: Int[Tensor, "B 2"]
    """First token and one past the last of each sequence, int64, on the host."""
    offsets: Int[Tensor, "B+1"]
    """Cumulated lengths, int32, on the device."""
    positions: Int[Tensor, "T"]
    """Position of each token in its sequence, int64, on the device; a decoding step starts where its cache ends."""
    longest: int
    """The greatest length."""
    furthest: int
    """One past the greatest position; more than `longest` where a pack goes on from a cache."""
    filler: bool = False
    """The last sequence is filler: excluded from loss and statistics."""

    @classmethod
    def of(
        cls,
        lengths: Sequence[int] | Tensor,
        device: torch.device | str | None = None,
        starts: Tensor | None = None,
        filler: bool = False,
    ) -> Pack:
        """A pack of sequences of these lengths; `starts` [B] is the position of the first token of each (default 0)."""
        count = torch.as_tensor(lengths, dtype=torch.int64, device="cpu")
        if count.ndim != 1 or (len(count) and int(count.min()) < 0):
            raise ValueError(f"lengths must be a list of non-negative integers; got {lengths!r}")
        ends = count.cumsum(0)
        begins = ends - count
        start = torch.zeros_like(count) if starts is None else starts.to("cpu", torch.int64)
        positions = torch.arange(int(count.sum())) - torch.repeat_interleave(begins - start, count)
        offsets = torch.cat([ends.new_zeros(1), ends]).to(torch.int32)
        return cls(
            bounds=torch.stack([begins, ends], dim=1),
            offsets=offsets.to(device, non_blocking=True),
            positions=positions.to(device, non_blocking=True),
            longest=int(count.max()) if len(count) else 0,
            furthest=int((start + count).max()) if len(count) else 0,
            filler=filler,
        )

    @property
    def num_sequences(self) -> int:
        """B."""
        return self.bounds.shape[0]

    @property
    def num_tokens(self) -> int:
        """T."""
        return self.positions.shape[0]

    @cached_property
    def lengths(self) -> list[int]:
        """Length of each sequence, on the host."""
        return (self.bounds[:, 1] - self.bounds[:, 0]).tolist()

    @cached_property
    def counts_B(self) -> Int[Tensor, "B"]:
        """Length of each sequence, int64, on the device."""
        return self.offsets.diff().long()

    @cached_property
    def sequence_T(self) -> Int[Tensor, "T"]:
        """Index of the sequence each token belongs to, on the device."""
        index = torch.arange(self.num_sequences, device=self.offsets.device)
        return torch.repeat_interleave(index, self.counts_B, output_size=self.num_tokens)

    @property
    def first_B(self) -> Int[Tensor, "B"]:
        """Index of the first token of each sequence, on the device."""
        return self.offsets[:-1].long()

    @property
    def last_B(self) -> Int[Tensor, "B"]:
        """Index of the last token of each sequence, on the device."""
        return self.offsets[1:].long() - 1

    def split(self, values: Tensor) -> list[Tensor]:
        """The rows of `values` [T, ...] by sequence: views, without a copy."""
        return list(values.split(self.lengths))


@dataclass(frozen=True, eq=False)
class Part:
    """One named input or target of a micro-pack: values [T, ...] laid end to end, and how they split."""

    values: Tensor
    pack: Pack


@dataclass(frozen=True, eq=False)
class Stream:
    """A sequence of vectors on its way through the trunk."""

    x_TD: Float[Tensor, "T D"]
    pack: Pack
    position_TD: Float[Tensor, "T D"] | None = None
    """Positions that go to queries and keys only."""
    between_NTD: Float[Tensor, "N T D"] | None = None
    """Added after each of the first N blocks (YOLOS, Fang et al. 2021, https://arxiv.org/abs/2106.00666)."""
    earlier: tuple[Float[Tensor, "T D"], ...] = ()
    """What the blocks before the last put out, each through the stack's final norm; kept only in training, and only for
    a head that is `deep`."""


Parts = dict[str, Part]
Streams = dict[str, Stream]
