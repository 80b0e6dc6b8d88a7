"""Which records a step learns from, and with what randomness: stateless, so that a run resumes from one integer.

* Step s takes the records at positions s * n to s * n + n - 1 of an endless sequence of epochs; each epoch is a permutation
  that is a function of (seed, epoch).
* Records that have an order of their own, those of a stream, say so by a method `order` (see `order_of`).
* A record's randomness is a function of (seed, epoch, index): it does not depend on workers, on ranks or on the order in
  which records are prepared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

_ORDER, _RECORD, _MODEL, _BLOCK = 0, 1, 2, 3  # streams of randomness that must never coincide


@dataclass(frozen=True)
class Draw:
    """One record of a step."""

    epoch: int
    index: int


class Steps(Protocol):
    """Says which records a step takes."""

    def step(self, step: int) -> list[Draw]:
        """The records of step `step`, counted from 0."""


@dataclass(frozen=True)
class Order:
    """The endless order of a data set."""

    seed: int
    num_records: int
    records_per_step: int

    def step(self, step: int) -> list[Draw]:
        """The records of step `step`, counted from 0."""
        first = step * self.records_per_step
        places = [divmod(place, self.num_records) for place in range(first, first + self.records_per_step)]
        return [Draw(epoch, int(permutation(self.seed, epoch, self.num_records)[at])) for epoch, at in places]


def order_of(records: Sequence[Any], seed: int, records_per_step: int) -> Steps:
    """The order in which a run takes records: their own, if they have one, else a permutation for each epoch.

    The records of a step are read after it is drawn, and before the next is.
    """
    own = getattr(records, "order", None)
    return Order(seed, len(records), records_per_step) if own is None else own(seed, records_per_step)


@lru_cache(maxsize=2)
def permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of one epoch, int64 [count]."""
    return np.random.default_rng((seed, _ORDER, epoch)).permutation(count)


@lru_cache(maxsize=2)
def block_permutation(seed: int, epoch: int, block: int, count: int) -> np.ndarray:
    """The order of one block of a stream, int64 [count]."""
    return np.random.default_rng((seed, _BLOCK, epoch, block)).permutation(count)


def record_rng(seed: int, draw: Draw) -> np.random.Generator:
    """The record's own randomness in this epoch."""
    return np.random.default_rng((seed, _RECORD, draw.epoch, draw.index))


def model_seed(seed: int, step: int, micro_step: int, rank: int = 0) -> int:
    """The seed of dropout in one micro-step, so that no generator state needs saving."""
    return int(np.random.SeedSequence((seed, _MODEL, step, micro_step, rank)).generate_state(1, np.uint64)[0]) >> 1
