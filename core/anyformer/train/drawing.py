"""What a step learns from: its records as samples, each with the record it came from, and those that cannot be used.

* A record is bad if reading it or learning from it raises `ValueError`. It is named with its file and line, counted once
  however often it is met, and never dropped without a word.
* None is allowed unless the settings say so: then the first is a warning, and one more than allowed stops the run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyformer.data.steps import Draw, record_rng
from anyformer.task import Rng, Sample
from anyformer.train.where import where

Learn = Callable[[Any, Rng], list[Sample]]


@dataclass(frozen=True)
class Drawn:
    """The samples of a step."""

    samples: list[Sample]
    owners: list[int]
    """For each sample, the index of its record."""
    bad: dict[int, str]
    """By index: what is wrong with a record that gave no sample, with its file and line."""


def draw(learn: Learn, records: Sequence[Any], draws: Iterable[Draw], seed: int) -> Drawn:
    """Learn from the records of a step: a function of the seed and of which they are."""
    drawn = Drawn([], [], {})
    for each in draws:
        try:
            found = learn(records[each.index], record_rng(seed, each))
        except ValueError as error:
            drawn.bad[each.index] = _said(records, each.index, error)
            continue
        drawn.samples.extend(found)
        drawn.owners.extend([each.index] * len(found))
    return drawn


def admit(drawn: Drawn, known: Sequence[int], allowed: int, warn: Callable[[str], None]) -> list[int]:
    """The bad records met so far, by index in order, `known` those of earlier steps.

    Raises `ValueError` if they are more than `allowed`.
    """
    new = [index for index in drawn.bad if index not in known]
    met = [*known, *new]
    if new and len(met) > allowed:
        said = drawn.bad[new[-1]]
        if not allowed:
            raise ValueError(f"{said}; mend it and start again, or let a run leave some out: training.bad_records=10")
        raise ValueError(
            f"{len(met)} records cannot be used, and training.bad_records allows {allowed}; the last: {said}"
        )
    if new and not known:
        warn(f"{drawn.bad[new[0]]}; this record is left out, and up to {allowed} may be; the log counts bad_records")
    return met


def digest(samples: Iterable[Sample], before: str = "") -> str:
    """A hash of samples, their order and what came `before`: names, types, shapes and values of parts and targets."""
    found = hashlib.sha256(before.encode())
    for sample in samples:
        for arrays in (sample.parts, sample.targets):
            for name, array in arrays.items():
                values = np.ascontiguousarray(array)
                found.update(f"{name} {values.dtype.str} {values.shape};".encode())
                found.update(values.tobytes())
            found.update(b"/")
    return found.hexdigest()[:16]


def _said(records: Sequence[Any], index: int, error: ValueError) -> str:
    place = where(records, index)
    text = " ".join(str(error).split()).removeprefix(f"row {index + 1}: ")
    return text if text.startswith(place) else f"{place}: {text}"
