"""The key-value cache of decoding: preallocated slabs, written in place.

Axis legend: N slots, S rows, K key-value heads, E head width, T tokens, B sequences.

* A sequence that is being decoded owns a slot of `length` rows. Attention reads rows by bounds, so nothing is padded. A
  sequence that has finished leaves by not being named any more, and `free` makes its slots those of another.
* Slots grow together, so that a generous limit costs no memory before it is reached.
* Where a pass writes and reads is worked out once, not in each block.
* What cross-attention reads is a cache of its own, written in one pass: neighbouring slots share one memory, as beams do.
* On the CPU, rows are fp32 where the model is in half precision: its kernels are many times slower there for one query.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from anyformer.nn.pack import Pack, Stream
from anyformer.nn.single import Run, runs


@dataclass(eq=False)
class Memory:
    """What cross-attention reads: the encoder's output, and which of its sequences each decoded sequence reads."""

    stream: Stream | None = None
    """None: what the cache keeps of it from the pass that read the prompt."""
    reads_B: Int[Tensor, "B"] | None = None
    """Index of the memory's sequence, int64 on the host; None: each its own."""

    @property
    def bounds(self) -> Int[Tensor, "B 2"]:
        """Rows that each decoded sequence reads."""
        assert self.stream is not None
        bounds = self.stream.pack.bounds
        return bounds if self.reads_B is None else bounds[self.reads_B]

    @property
    def offsets(self) -> Tensor | None:
        """Cumulated lengths on the device, where each sequence reads its own memory."""
        assert self.stream is not None
        return self.stream.pack.offsets if self.reads_B is None else None


@dataclass(frozen=True, eq=False)
class Reads:
    """Where each sequence of a pass finds its keys and values."""

    bounds: Int[Tensor, "B 2"]
    """Rows, on the host."""
    offsets: Int[Tensor, "B+1"] | None = None
    """The same as cumulated lengths on the device, where the rows are those of the pack itself."""
    runs: list[Run] | None = None
    """The same as calls of `anyformer.nn.single.read`, where each sequence has one query."""


@dataclass(frozen=True, eq=False)
class _Pass:
    """One pack on its way through the blocks."""

    pack: Pack
    reads: Reads
    is_new: bool
    """No sequence has anything in its slot yet, so it reads its own tokens only."""
    rows_T: Int[Tensor, "T"]
    """Where each token is written, on the device."""
    even: tuple[slice, int] | None
    """The same as slots and one row in each of them, where that is all."""


@dataclass(eq=False)
class Cache:
    """Keys and values of the tokens seen so far, for every block."""

    num_slots: int
    length: int
    """Rows of a slot: the most tokens a sequence may reach, until `grow`."""
    slots_B: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    """The slot of each sequence of the current pack, on the host."""
    share: int = 1
    """Neighbouring slots that read one memory: 0 to `share` - 1, and so on."""
    used_N: Tensor = field(init=False)
    """Rows in use of each slot, on the host."""
    slabs: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Keys and values [N * length, K, E] by block."""
    crossed: Cache | None = None
    """Keys and values of the memories, in a slot for each; None: nothing was kept yet."""
    _pass: _Pass | None = None
    _recalled: tuple[Pack, Reads] | None = None

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
        if self.crossed is not None and self.crossed._pass is not None:
            self.crossed.advance(self.crossed._pass.pack)
        self._pass = None

    def write(
        self, block: int, k_TKE: Float[Tensor, "T K E"], v_TKE: Float[Tensor, "T K E"], pack: Pack
    ) -> tuple[Tensor, Tensor, Reads]:
        """Append the keys and values of one block; returns the keys, the values and the rows that each sequence may read."""
        if self._pass is None or self._pass.pack is not pack:
            self._pass = self._begin(pack)
        now = self._pass
        if block not in self.slabs:
            half = k_TKE.device.type == "cpu" and k_TKE.dtype in (torch.bfloat16, torch.float16)
            shape, dtype = (self.num_slots * self.length, *k_TKE.shape[1:]), torch.float32 if half else k_TKE.dtype
            # Zeros, because a call over several slots multiplies what it hides of them by zero.
            self.slabs[block] = (k_TKE.new_zeros(shape, dtype=dtype), v_TKE.new_zeros(shape, dtype=dtype))
        k_slab, v_slab = self.slabs[block]
        for slab, x_TKE in ((k_slab, k_TKE), (v_slab, v_TKE)):
            if now.even is not None:
                slab.unflatten(0, (self.num_slots, self.length))[now.even] = x_TKE.to(slab.dtype)
            else:
                slab.index_copy_(0, now.rows_T, x_TKE.to(slab.dtype))
        return (k_TKE, v_TKE, now.reads) if now.is_new else (k_slab, v_slab, now.reads)

    def _begin(self, pack: Pack) -> _Pass:
        """Work out where a pack is written, and what it reads."""
        starts_B, used_B = self.slots_B * self.length, self.used_N[self.slots_B]
        bounds = torch.stack([starts_B, starts_B + used_B + torch.tensor(pack.lengths, dtype=torch.int64)], dim=1)
        assert bool((bounds[:, 1] <= starts_B + self.length).all()), "the cache is full"
        rows_T = pack.positions + starts_B.to(pack.positions.device)[pack.sequence_T]
        if not used_B.any():
            return _Pass(pack, Reads(pack.bounds, pack.offsets), True, rows_T, None)
        if pack.longest != 1 or pack.num_tokens != pack.num_sequences:
            return _Pass(pack, Reads(bounds), False, rows_T, None)
        return _Pass(pack, self._single(bounds), False, rows_T, self._even(used_B))

    def _single(self, bounds: Tensor) -> Reads:
        return Reads(bounds, runs=runs(bounds, self.num_slots * self.length))

    def _even(self, used_B: Tensor) -> tuple[slice, int] | None:
        slots, used = self.slots_B.tolist(), int(used_B[0])
        step = slots[1] - slots[0] if len(slots) > 1 else 1
        even = step > 0 and slots == list(range(slots[0], slots[-1] + 1, step)) and bool((used_B == used).all())
        return (slice(slots[0], slots[-1] + 1, step), used) if even else None

    def keep(self, block: int, k_SKE: Float[Tensor, "S K E"], v_SKE: Float[Tensor, "S K E"], memory: Memory) -> None:
        """Keep the keys and values of the memories that the current sequences read, each its own, for `recall`."""
        assert memory.stream is not None
        assert memory.reads_B is None, "a memory is kept when its prompt is read, once"
        pack = memory.stream.pack
        if self.crossed is None:
            self.crossed = Cache(self.num_slots // self.share, pack.longest)
        if pack.longest > self.crossed.length:
            self.crossed.grow(pack.longest)
        self.crossed.slots_B = self.slots_B // self.share
        self.crossed.write(block, k_SKE, v_SKE, pack)

    def recall(self, block: int, pack: Pack) -> tuple[Tensor, Tensor, Reads]:
        """What `keep` kept: the keys, the values, and the rows that each sequence of a pack may read."""
        assert self.crossed is not None, "a memory is read after the pass that kept it"
        if self._recalled is None or self._recalled[0] is not pack:
            kept, read_B = self.crossed, self.slots_B // self.share
            starts_B = read_B * kept.length
            bounds = torch.stack([starts_B, starts_B + kept.used_N[read_B]], dim=1)
            single = pack.longest == 1 and pack.num_tokens == pack.num_sequences
            self._recalled = pack, kept._single(bounds) if single else Reads(bounds)
        return *self.crossed.slabs[block], self._recalled[1]

    def free(self, slots: Sequence[int]) -> None:
        """Empty slots, and the memories that they read, for other sequences."""
        self.used_N[list(slots)] = 0
        if self.crossed is not None:
            self.crossed.free(sorted({slot // self.share for slot in slots}))

    def copy(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Copy the used rows of slots, (from, to); no slot may be both read and written."""
        if not pairs:
            return
        sources_P, targets_P = torch.tensor(pairs, dtype=torch.int64).T
        assert not set(sources_P.tolist()) & set(targets_P.tolist()), "a slot is both read and written"
        longest = int(self.used_N[sources_P].max())
        for slab in (slab for pair in self.slabs.values() for slab in pair):
            rows_NS = slab.unflatten(0, (self.num_slots, self.length))[:, :longest]
            rows_NS[targets_P.to(slab.device)] = rows_NS[sources_P.to(slab.device)]
        self.used_N[targets_P] = self.used_N[sources_P]

    def move(self, source: int, target: int) -> None:
        """Let the slots that share the memory `source`, and it, become those of the memory `target`."""
        self.copy([(source * self.share + i, target * self.share + i) for i in range(self.share)])
        if self.crossed is not None:
            self.crossed.copy([(source, target)])

    def grow(self, length: int) -> None:
        """Make slots `length` rows long, keeping what they hold."""
        assert length >= self.length, "slots only grow"
        for block, pair in self.slabs.items():
            self.slabs[block] = (self._longer(pair[0], length), self._longer(pair[1], length))
        self.length = length

    def _longer(self, slab: Tensor, length: int) -> Tensor:
        old = slab.unflatten(0, (self.num_slots, self.length))
        new = old.new_zeros((self.num_slots, length, *slab.shape[1:]))
        new[:, : self.length] = old
        return new.flatten(0, 1)
