"""What a step learns from: records as samples, each with the record it came from, and those that cannot be used.

* A source draws by the step alone, so any process can draw for any step: a rank its part, a worker ahead of time.
* A record is bad if reading it or learning from it raises `ValueError`. It is named with its file and line, counted once
  however often it is met, and never dropped without a word.
* None is allowed unless the settings say so: then the first is a warning, and one more than allowed stops the run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anyformer.data.steps import Draw, Steps, order_of, record_rng
from anyformer.nn import Model
from anyformer.task import Objective, Rng, Sample, Task
from anyformer.train.courses import Course, quotas, shares
from anyformer.train.where import where

Learn = Callable[[Any, Rng], list[Sample]]
Bad = Mapping[str, Sequence[int]]
"""Records that cannot be used, by component: each index once."""


@dataclass(frozen=True)
class Drawn:
    """The samples of a step, of one course."""

    samples: list[Sample] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    """For each sample, the index of its record."""
    places: list[int] = field(default_factory=list)
    """For each sample, the place of its record in the step: the same, whichever rank draws it."""
    bad: dict[int, str] = field(default_factory=dict)
    """By index: what is wrong with a record that gave no sample, with its file and line."""


@dataclass
class Source:
    """What one course gives to each step."""

    component: str
    learn: Learn
    records: Sequence[Any]
    order: Steps
    seed: int
    share: float = 1.0
    """Of its loss in that of the step."""
    terms: list[str] = field(default_factory=list)
    """Of its loss, once they are known."""

    def draw(self, step: int, rank: int = 0, num_ranks: int = 1) -> Drawn:
        """The samples of the records at places `rank`, `rank + num_ranks`, ... of a step."""
        draws = self.order.step(step)
        return self.learn_from([(place, draws[place]) for place in range(rank, len(draws), num_ranks)])

    def learn_from(self, draws: Iterable[tuple[int, Draw]]) -> Drawn:
        """The samples of records, each with its place in the step."""
        drawn = Drawn()
        for place, each in draws:
            try:
                found = self.learn(self.records[each.index], record_rng(self.seed, each))
            except ValueError as error:
                drawn.bad[each.index] = _said(self.records, each.index, error)
                continue
            drawn.samples.extend(found)
            drawn.owners.extend([each.index] * len(found))
            drawn.places.extend([place] * len(found))
        return drawn


def sources(model: Model, courses: Sequence[Course], seed: int, records: int) -> list[Source]:
    """The sources of a run whose steps take `records` records in all."""
    found = []
    parts = zip(courses, quotas(courses, records), shares(courses), strict=True)
    for course, quota, share in parts:
        task = model[course.component].task
        assert isinstance(task, Task | Objective)
        order = order_of(course.records, seed, quota)
        found.append(Source(course.component, task.learn, course.records, order, seed, share))
    return found


def draw(found: Sequence[Source], rank: int, num_ranks: int, step: int) -> list[Drawn]:
    """What each source gives to a step."""
    return [source.draw(step, rank, num_ranks) for source in found]


def admit(
    bad: Sequence[tuple[str, int, str]], known: Bad, allowed: int, warn: Callable[[str], None]
) -> dict[str, list[int]]:
    """All bad records met so far: those of a step, (component, index, what is wrong), and those `known` from earlier ones.

    Raises `ValueError` if they are more than `allowed`.
    """
    met = {component: list(indices) for component, indices in known.items()}
    new = []
    for component, index, said in bad:
        if index not in met.setdefault(component, []):
            met[component].append(index)
            new.append(said)
    total = sum(map(len, met.values()))
    if new and total > allowed:
        if not allowed:
            raise ValueError(
                f"{new[-1]}; mend it and start again, or let a run leave some out: training.bad_records=10"
            )
        raise ValueError(
            f"{total} records cannot be used, and training.bad_records allows {allowed}; the last: {new[-1]}"
        )
    if new and total == len(new):
        warn(f"{new[0]}; this record is left out, and up to {allowed} may be; the log counts bad_records")
    return met


def digests(drawn: Sequence[Drawn]) -> list[tuple[int, int, str]]:
    """For each sample its course, its place in the step, and a hash of names, types, shapes and values of what it holds."""
    return [
        (course, place, _digest(sample))
        for course, each in enumerate(drawn)
        for place, sample in zip(each.places, each.samples, strict=True)
    ]


def chain(found: Iterable[tuple[int, int, str]], before: str) -> str:
    """A hash of a step's samples, in the order of the step, and of what came `before`."""
    whole = hashlib.sha256(before.encode())
    for _, _, digest in sorted(found, key=lambda one: one[:2]):
        whole.update(digest.encode())
    return whole.hexdigest()[:16]


def _digest(sample: Sample) -> str:
    found = hashlib.sha256()
    for arrays in (sample.parts, sample.targets):
        for name, array in arrays.items():
            values = np.ascontiguousarray(array)
            found.update(f"{name} {values.dtype.str} {values.shape};".encode())
            found.update(values.tobytes())
        found.update(b"/")
    return found.hexdigest()


def _said(records: Sequence[Any], index: int, error: ValueError) -> str:
    place = where(records, index)
    text = " ".join(str(error).split()).removeprefix(f"row {index + 1}: ")
    return text if text.startswith(place) else f"{place}: {text}"
