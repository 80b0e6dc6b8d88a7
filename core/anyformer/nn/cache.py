"""The key-value cache of decoding: preallocated slabs, written in place.

Axis legend: N slots, S rows, K key-value heads, E head width, B sequences.

A sequence that is being decoded owns a slot of `length` rows. A slot is only rows, and attention reads rows by bounds, so
nothing is masked or padded. A sequence that has finished leaves by not being named any more; a slot is copied only where two
sequences go on from one. Slots grow together, so that a generous limit costs no memory before it is reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from anyformer.nn.pack import Pack, Stream


@dataclass(eq=False)
class Memory:
    """What cross-attention reads: the encoder's output, and which of its sequences each decoded sequence reads."""

    stream: Stream
    reads_B: Int[Tensor, "B"] | None = None
    """Index of the memory's sequence, int64 on the host; None: each its own."""

    @property
    def bounds(self) -> Int[Tensor, "B 2"]:
        """Rows that each decoded sequence reads."""
        bounds = self.stream.pack.bounds
        return bounds if self.reads_B is None else bounds[self.reads_B]

    @property
    def offsets(self) -> Tensor | None:
        """Cumulated lengths on the device, where each sequence reads its own memory."""
        return self.stream.pack.offsets if self.reads_B is None else None


@dataclass(eq=False)
class Cache:
    """Keys and values of the tokens seen so far, for every block."""

    num_slots: int
    length: int
    """Rows of a slot: the most tokens a sequence may reach, until `grow`."""
    slots_B: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    """The slot of each sequence of the current pack, on the host."""
    used_N: Tensor = field(init=False)
    """Rows in use of each slot, on the host."""
    slabs: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Keys and values [N * length, K, E] by block."""
    crossed: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Keys and values of the memory by block: projected once."""

    def __post_init__(self) -> None:
        self.used_N = torch.zeros(self.num_slots, dtype=torch.int64)
        if not len(self.slots_B):
            self.slots_B = torch.arange(self.num_slots)

    def pack(self, lengths: list[int], device: torch.device) -> Pack:
        """The pack of the next tokens of the current sequences: positions go on where each slot ends."""
        return Pack.of(lengths, device, starts=self.used_N[self.slots_B])

    def advance(self, pack: Pack) -> None:
        """Count the tokens of `pack` as seen, after all blocks have written them."""
        self.used_N[self.slots_B] += torch.tensor(pack.lengths)

    def write(
        self, block: int, k_TKE: Float[Tensor, "T K E"], v_TKE: Float[Tensor, "T K E"], pack: Pack
    ) -> tuple[Tensor, Tensor, Int[Tensor, "B 2"]]:
        """Append the keys and values of one block; returns its slabs and the rows that each sequence may read."""
        if block not in self.slabs:
            shape = (self.num_slots * self.length, *k_TKE.shape[1:])
            self.slabs[block] = (k_TKE.new_empty(shape), v_TKE.new_empty(shape))
        starts_B = self.slots_B * self.length
        ends_B = starts_B + self.used_N[self.slots_B] + torch.tensor(pack.lengths)
        assert bool((ends_B <= starts_B + self.length).all()), "the cache is full"
        rows_T = pack.positions + starts_B.to(pack.positions.device)[pack.sequence_T]
        k_slab, v_slab = self.slabs[block]
        k_slab[rows_T] = k_TKE
        v_slab[rows_T] = v_TKE
        return k_slab, v_slab, torch.stack([starts_B, ends_B], dim=1)

    def copy(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Copy the used rows of slots, (from, to); no slot may be both read and written."""
        if not pairs:
            return
        sources_P, targets_P = torch.tensor(pairs, dtype=torch.int64).T
        assert not set(sources_P.tolist()) & set(targets_P.tolist()), "a slot is both read and written"
        used_P = self.used_N[sources_P]
        rows = Pack.of(used_P)
        for slab in (slab for pair in self.slabs.values() for slab in pair):
            positions_T, pair_T = rows.positions.to(slab.device), rows.sequence_T.to(slab.device)
            starts_P = torch.stack([sources_P, targets_P]).to(slab.device) * self.length
            from_T, to_T = starts_P[:, pair_T] + positions_T
            slab[to_T] = slab[from_T]
        self.used_N[targets_P] = used_P

    def grow(self, length: int) -> None:
        """Make slots `length` rows long, keeping what they hold."""
        assert length >= self.length, "slots only grow"
        for block, pair in self.slabs.items():
            self.slabs[block] = (self._longer(pair[0], length), self._longer(pair[1], length))
        self.length = length

    def _longer(self, slab: Tensor, length: int) -> Tensor:
        old = slab.unflatten(0, (self.num_slots, self.length))
        new = old.new_empty((self.num_slots, length, *slab.shape[1:]))
        new[:, : self.length] = old
        return new.flatten(0, 1)
