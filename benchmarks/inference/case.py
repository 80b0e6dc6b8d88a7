"""A case: one job done by us and by the home library, timed in turns, compared, and set beside what the machine allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from benchmarks.inference.limits import Phase

TOLERANCE = 1e-4
"""Of our answers in fp32: difference at most, relative to the greatest magnitude."""

Job = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """The same job for several sides."""

    level: str
    """Where all sides start and end."""
    unit: str
    amount: float
    """Units that one call answers."""
    ours: Job
    theirs: Mapping[str, Job]
    """By name; the first is the home library as it comes, all others are what its manuals advise."""
    phases: Sequence[Phase]
    """What one call cannot do without."""
    difference: Callable[[Any, Any], float]
    """How far an answer is from another: 0 where they are equal."""
    tolerance: float = TOLERANCE
    """In fp32; 0 where tokens must be identical."""


@dataclass(frozen=True)
class Asked:
    """What a case is built for."""

    name: str
    precision: str
    quick: bool
    """Leaves out what takes long to make, such as compiled variants."""


def relative(found: Sequence[Tensor], true: Sequence[Tensor]) -> float:
    """The greatest difference over the greatest true magnitude."""
    pairs = list(zip(found, true, strict=True))
    assert all(own.shape == other.shape for own, other in pairs)
    greatest = max(float(other.abs().max()) for _, other in pairs)
    errors = torch.stack([(own.float() - other.float()).abs().max() for own, other in pairs])
    return float(errors.max()) / greatest  # unlike that of Python, this maximum is no number where one error is none


def share_of_other_tokens(found: Sequence[list[int]], true: Sequence[list[int]]) -> float:
    """The share of places that do not hold the same token; a place that one side lacks is one of them."""
    pairs = [pair for answers in zip(found, true, strict=True) for pair in zip_longest(*answers)]
    return sum(own != other for own, other in pairs) / len(pairs)
