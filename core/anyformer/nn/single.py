"""Attention of one query for each sequence, as a decoding step has it: sequences that lie evenly are one kernel call.

Axis legend: T sequences and their queries, b groups of one call, g queries of a group, H query heads, K key-value heads,
E head width, S keys.

* Slots of a cache lie at even distances, so the keys of many sequences are one strided view of its rows: nothing is copied.
* The view is as long as the longest sequence of a call. What it shows beyond the others is hidden, and kept in bounds: no
  sequence of a call is more than twice as long as another, but for a few rows.
* Beams of one sample read the same memory: they are the queries of one group. So are the heads that share a key-value head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from anyformer.nn.kernels import fused

SPARE = 64
"""Rows that a call may read beyond twice those of its shortest sequence: cheaper than a call of its own."""


@dataclass(frozen=True, eq=False)
class Run:
    """Sequences of one call: `num` groups of `size` queries, whose keys begin every `stride` rows."""

    first: int
    """Index of the first query."""
    num: int
    size: int
    start: int
    """Row of the first key."""
    stride: int
    lengths: list[int]
    """Keys of each group."""
    _masks: dict[tuple[int, torch.dtype, torch.device], Tensor] = field(default_factory=dict, repr=False)

    @property
    def end(self) -> int:
        """One past the index of the last query."""
        return self.first + self.num * self.size

    def narrowed(self, window: int) -> tuple[int, int]:
        """The first row and the number of rows that a view of the keys needs, if only the last `window` keys are seen."""
        longest, shortest = max(self.lengths), min(self.lengths)
        hidden = max(0, shortest - window) if window else 0
        return self.start + hidden, longest - hidden

    def hides(self, window: int, dtype: torch.dtype, device: torch.device) -> Tensor | None:
        """What is added to the logits [b, 1, 1, S]: minus infinity where a sequence has no key; None: all is seen."""
        if min(self.lengths) == max(self.lengths):
            return None
        key = window, dtype, device
        if key not in self._masks:
            start, longest = self.narrowed(window)
            places_S = torch.arange(start - self.start, start - self.start + longest)
            lengths_b1 = torch.tensor(self.lengths)[:, None]
            hidden_bS = places_S >= lengths_b1
            if window:
                hidden_bS |= places_S < lengths_b1 - window
            mask_bS = torch.zeros(hidden_bS.shape, dtype=dtype).masked_fill_(hidden_bS, float("-inf"))
            self._masks[key] = mask_bS[:, None, None].to(device)
        return self._masks[key]

    def sliced(self, bias_HLS: Tensor, window: int) -> Tensor:
        """The bias of each sequence [b, H, 1, S], from that of the longest of the pass: its last row and columns."""
        start, longest = self.narrowed(window)
        from_b1 = bias_HLS.shape[-1] - torch.tensor(self.lengths)[:, None] + (start - self.start)
        columns_bS = (from_b1 + torch.arange(longest)).clamp(max=bias_HLS.shape[-1] - 1).to(bias_HLS.device)
        return bias_HLS[:, -1][:, columns_bS].transpose(0, 1)[:, :, None]


def runs(bounds: Int[Tensor, "T 2"], num_rows: int) -> list[Run]:
    """The calls that read the keys in `bounds`, of `num_rows` rows; a sequence without keys is in none."""
    found: list[Run] = []
    index = 0
    for start, length, size in _groups(bounds):
        first, index = index, index + size
        if not length:
            continue
        last = found[-1] if found else None
        if last is not None and _joins(last, first, size, start, length, num_rows):
            stride = start - last.start if last.num == 1 else last.stride
            found[-1] = Run(last.first, last.num + 1, size, last.start, stride, [*last.lengths, length])
        else:
            found.append(Run(first, 1, size, start, 0, [length]))
    return found


def _joins(last: Run, first: int, size: int, start: int, length: int, num_rows: int) -> bool:
    """Whether a group goes on a run: evenly, with keys of about the same number, and rows enough after its last."""
    if first != last.end or size != last.size:
        return False
    even = start > last.start if last.num == 1 else start == last.start + last.num * last.stride
    longest, shortest = max(length, *last.lengths), min(length, *last.lengths)
    return even and longest <= 2 * shortest + SPARE and start + longest <= num_rows


def _groups(bounds: Tensor) -> Iterator[tuple[int, int, int]]:
    """First row, number of rows, and how many sequences after one another read just these."""
    before: list[int] | None = None
    size = 0
    for pair in bounds.tolist():
        if pair == before:
            size += 1
            continue
        if before is not None:
            yield before[0], before[1] - before[0], size
        before, size = pair, 1
    if before is not None:
        yield before[0], before[1] - before[0], size


def read(
    q_THE: Float[Tensor, "T H E"], k_SKE: Float[Tensor, "S K E"], v_SKE: Float[Tensor, "S K E"], parts: list[Run],
    bias_HLS: Float[Tensor, "H 1 longest_S"] | None = None, window: int = 0, scale: float | None = None,
) -> Float[Tensor, "T H E"]:  # fmt: skip
    """Attention [T, H, E] of each query over the keys of its sequence, the last of which stands where the query does.

    Computed in the dtype of the keys, given back in that of the queries. `window`, `bias_HLS` and `scale` are those of
    `anyformer.nn.attend.attend`.
    """
    scale = q_THE.shape[-1] ** -0.5 if scale is None else scale
    found = [_one_call(q_THE[run.first : run.end], k_SKE, v_SKE, run, bias_HLS, window, scale) for run in parts]
    if len(parts) == 1 and parts[0].end - parts[0].first == len(q_THE):
        return found[0]
    out_THE = torch.zeros_like(q_THE, memory_format=torch.contiguous_format)
    for run, rows_THE in zip(parts, found, strict=True):
        out_THE[run.first : run.end] = rows_THE
    return out_THE


def _one_call(
    q_THE: Tensor, k_SKE: Tensor, v_SKE: Tensor, run: Run, bias_HLS: Tensor | None, window: int, scale: float
) -> Tensor:
    num_groups, width = k_SKE.shape[1:]
    shared = q_THE.shape[1] // num_groups
    start, longest = run.narrowed(window)

    def seen(x_SKE: Tensor) -> Tensor:
        row, head, _ = x_SKE.stride()
        size, stride = (run.num, num_groups, longest, width), (run.stride * row, head, row, 1)
        return x_SKE.as_strided(size, stride, x_SKE.storage_offset() + start * row)

    mask = run.hides(window, k_SKE.dtype, k_SKE.device)
    if bias_HLS is not None:
        assert run.size == 1, "a bias goes with one query a sequence"
        bias = run.sliced(bias_HLS, window).to(k_SKE.dtype)
        mask = (bias if mask is None else bias + mask).reshape(run.num, num_groups, shared, longest)
    # [b, g, K, shared, E] to [b, K, g * shared, E]: all that reads the same keys
    grouped = q_THE.to(k_SKE.dtype).unflatten(1, (num_groups, shared)).unflatten(0, (run.num, run.size)).transpose(1, 2)
    q_HLE = grouped.flatten(2, 3)
    if mask is not None:
        mask = mask.expand(-1, -1, q_HLE.shape[2], -1)
    out_HLE, _ = fused(q_HLE, seen(k_SKE), seen(v_SKE), False, mask, scale)
    out = out_HLE.unflatten(2, (run.size, shared)).transpose(1, 2)
    return out.reshape(len(q_THE), -1, width).to(q_THE.dtype)
