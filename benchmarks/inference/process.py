"""The sides of a case. Each builds the whole case from the same seed, in a process of its own, and answers as one side."""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.inference import CASES, OURS
from benchmarks.inference.case import Asked, Case
from benchmarks.inference.limits import Phase

LEAST_SECONDS = 1.0
"""A side repeats its job for so long in each round."""


@dataclass(frozen=True)
class About:
    """A case without its functions."""

    names: list[str]
    """Of the sides beside ours, the home library as it comes first."""
    level: str
    unit: str
    amount: float
    phases: Sequence[Phase]
    tolerance: float


class Side:
    """One side of a case, to be made in a process of its own (see `benchmarks.apart`)."""

    def __init__(self, asked: Asked, name: str) -> None:
        """`name` is that of a side; empty: the home library as it comes."""
        torch.manual_seed(0)
        page, _ = CASES[asked.name]
        self.case: Case = importlib.import_module(f"benchmarks.inference.{page}").build(asked)
        self.quick = asked.quick
        self.job = {OURS: self.case.ours, **self.case.theirs}[name or next(iter(self.case.theirs))]

    def about(self) -> About:
        """What the case is."""
        case = self.case
        return About([*case.theirs], case.level, case.unit, case.amount, case.phases, case.tolerance)

    def answer(self) -> list[Any]:
        """What the side answers, arrays for tensors: of a process that ends, shared tensors would go with it."""
        return [each.float().numpy() if isinstance(each, Tensor) else each for each in self.job()]

    def difference(self, found: Sequence[Any]) -> float:
        """How far another side's answer is from that of this one."""
        return self.case.difference(
            [torch.from_numpy(each) if isinstance(each, np.ndarray) else each for each in found], self.job()
        )

    def rate(self) -> float:
        """Units a second, of one call or as many as fill `LEAST_SECONDS`."""
        calls, began = 0, time.perf_counter()
        while not calls or (not self.quick and time.perf_counter() - began < LEAST_SECONDS):
            self.job()
            calls += 1
        return calls * self.case.amount / (time.perf_counter() - began)
