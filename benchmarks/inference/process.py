"""The sides of a case, each in a process of its own, as its users have it.

* What one library sets for its process (kept memory, threads, allocators) neither helps nor harms the other.
* A process builds the whole case from the same seed, and answers as one side when it is told to; only one works at a time.
"""

from __future__ import annotations

import importlib
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.inference import CASES, OURS
from benchmarks.inference.case import Asked, Case, Job
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
    """One side of a case, in its process. Used as a context, which ends the process."""

    def __init__(self, asked: Asked, name: str) -> None:
        """`name` is that of a side; empty: the home library as it comes."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, asked, name), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Side:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()
        self._process.join()

    def about(self) -> About:
        """What the case is."""
        found: About = self._ask("about")
        return found

    def answer(self) -> Any:
        """What the side answers, arrays for tensors."""
        return self._ask("answer")

    def difference(self, found: Any) -> float:
        """How far another side's answer is from that of this one."""
        return float(self._ask("difference", found))

    def rate(self) -> float:
        """Units a second, of one call or as many as fill `LEAST_SECONDS`."""
        return float(self._ask("rate"))

    def _ask(self, *request: Any) -> Any:
        self._pipe.send(request)
        return self._pipe.recv()


def _serve(pipe: Connection, asked: Asked, name: str) -> None:
    torch.manual_seed(0)
    page, _ = CASES[asked.name]
    case: Case = importlib.import_module(f"benchmarks.inference.{page}").build(asked)
    jobs = {OURS: case.ours, **case.theirs}
    job = jobs[name or next(iter(case.theirs))]
    while True:
        try:
            request = pipe.recv()
        except EOFError:  # nobody asks any more
            return
        match request:
            case ("about",):
                pipe.send(About([*case.theirs], case.level, case.unit, case.amount, case.phases, case.tolerance))
            case ("answer",):
                pipe.send(_without_tensors(job()))
            case ("difference", found):
                pipe.send(case.difference(_with_tensors(found), job()))
            case ("rate",):
                pipe.send(_rate(job, case.amount, asked.quick))


def _rate(job: Job, amount: float, quick: bool) -> float:
    calls, began = 0, time.perf_counter()
    while not calls or (not quick and time.perf_counter() - began < LEAST_SECONDS):
        job()
        calls += 1
    return calls * amount / (time.perf_counter() - began)


def _without_tensors(answer: Sequence[Any]) -> list[Any]:
    """An answer as it may be sent: of a process that ends, shared tensors would go with it."""
    return [each.float().numpy() if isinstance(each, Tensor) else each for each in answer]


def _with_tensors(answer: Sequence[Any]) -> list[Any]:
    return [torch.from_numpy(each) if isinstance(each, np.ndarray) else each for each in answer]
