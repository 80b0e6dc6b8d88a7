"""Samples to micro-packs: laid end to end, cut by a token budget.

The budget bounds memory, never learning: a step's loss is a sum over all its micro-packs, however it was cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from operator import attrgetter
from typing import TypeVar

import numpy as np
import torch

from anyformer.nn.pack import Pack, Part, Parts
from anyformer.task import Array, Sample

T = TypeVar("T")
Packs = Callable[[tuple[int, ...]], Pack]
"""From lengths to their pack, on one device."""


def packs_on(device: torch.device | str | None) -> Packs:
    """Packs that are made once and then remembered: parts of a sample share them, as do steps whose lengths come again."""
    return lru_cache(maxsize=32)(partial(Pack.of, device=device))


def cut(items: Iterable[T], most: int, cost: Callable[[T], int] = attrgetter("cost")) -> Iterator[list[T]]:
    """Consecutive items in groups that cost at most `most`, samples by their tokens; one that costs more goes alone."""
    group: list[T] = []
    total = 0
    for item in items:
        if group and total + cost(item) > most:
            yield group
            group, total = [], 0
        group.append(item)
        total += cost(item)
    if group:
        yield group


def collate(
    samples: Sequence[Sample], device: torch.device | str | None = None, packs: Packs | None = None
) -> tuple[Parts, Parts]:
    """The parts and the targets of samples, each laid end to end on the device; `packs` are made there.

    Raises `ValueError` if the samples do not have the same parts.
    """
    packs = packs or packs_on(device)
    parts, targets = [sample.parts for sample in samples], [sample.targets for sample in samples]
    return lay(parts, device, packs), lay(targets, device, packs)


def lay(
    items: Sequence[Mapping[str, Array]], device: torch.device | str | None = None, packs: Packs | None = None
) -> Parts:
    """Arrays by name of each item, as one part for each name; `packs` are made on the device."""
    packs = packs or packs_on(device)
    names = list(items[0]) if items else []
    for item in items:
        if list(item) != names:
            raise ValueError(f"samples must have the same parts; one has {names}, another {list(item)}")
    return {name: part([item[name] for item in items], device, packs) for name in names}


def part(arrays: Sequence[Array], device: torch.device | str | None, packs: Packs) -> Part:
    """Arrays [L, ...] as one part: values [T, ...] and how they split."""
    values = torch.from_numpy(np.ascontiguousarray(np.concatenate(arrays)))
    return Part(values.to(device, non_blocking=True), packs(tuple(map(len, arrays))))
