"""What a run learns from: one course, or several that share the trunk.

* A step takes a fixed number of records of each course, in proportion to the weights; so which records a step learns from
  is a function of the step alone, and every course has a say in every update.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Course:
    """What one component of the model learns from."""

    component: str
    records: Sequence[Any]
    weight: float = 1.0
    """Of its loss, and of the number of its records in a step, beside the weights of the others."""


def shares(courses: Sequence[Course]) -> list[float]:
    """The weights, so that they sum to 1."""
    total = sum(course.weight for course in courses)
    return [course.weight / total for course in courses]


def quotas(courses: Sequence[Course], records: int) -> list[int]:
    """How many of a step's `records` each course gives: in proportion to the weights, and one at least.

    Raises `ValueError` if there are fewer records than courses.
    """
    if records < len(courses):
        raise ValueError(
            f"training.records is {records}, and a step takes at least one record of each of the {len(courses)} parts of "
            "the mixture"
        )
    exact = [share * records for share in shares(courses)]
    found = [max(1, int(value)) for value in exact]
    while sum(found) != records:
        missing = 1 if sum(found) < records else -1
        open_ = [place for place in range(len(courses)) if found[place] + missing >= 1]
        place = max(open_, key=lambda place: (missing * (exact[place] - found[place]), -place))
        found[place] += missing
    return found
