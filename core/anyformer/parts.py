"""The parts of a run: one, or several that share the trunk; and how run.yaml tells of them.

The only part of a run stands on the page itself; several stand there in a list, `parts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from anyformer import artifact as artifacts
from anyformer.artifact import Artifact, Bound
from anyformer.data import records_of
from anyformer.data.dataset import Dataset
from anyformer.task import Objective, Task
from anyformer.train.courses import Course
from anyformer.train.run import Run
from anyformer.train.settings import Training


@dataclass(frozen=True)
class Part:
    """What one component learns in a run."""

    id: str
    bound: Bound
    data: Dataset
    weight: float = 1.0
    """In a mixture, beside the weights of the others."""
    asked: Mapping[str, Any] = field(default_factory=dict)
    """What run.yaml says of it, beside its data."""

    @cached_property
    def course(self) -> Course:
        """Its training part."""
        return Course(self.id, records_of(self.bound, self.data.train), self.weight)

    @cached_property
    def held_out(self) -> Sequence[Any]:
        """The records that it is scored on; there may be none."""
        return self.bound.records(self.data.valid) if len(self.data.valid) else []


def parts_told(page: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """What run.yaml says of each part."""
    found: Sequence[Mapping[str, Any]] = page.get("parts", [page])
    return found


Begun = tuple[Artifact, list[Part], Training]
"""What a run goes on with: a model with new weights, its parts with their data, and the settings."""


def reopened(run: Run, data: Any = None, valid: Any = None) -> Begun:
    """A run, as its folder tells of it.

    `data` and `valid` stand in for what was in memory, by id where there are several parts. Raises `ValueError` for a page
    that is damaged, and for data that has changed.
    """
    page = run.settings
    try:
        training = Training.model_validate(page["settings"]["training"])
        told = {part["id"]: (part["data"], float(part.get("weight", 1.0))) for part in parts_told(page)}
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{run.folder / 'run.yaml'} is damaged: it lacks what a run needs to go on") from None
    artifact = artifacts.read_description(run.folder / "prepared")
    parts: list[Part] = []
    for id, (asked, weight) in told.items():
        bound = artifact.model[artifact.component(id)].task
        assert isinstance(bound, Task | Objective)
        rows, held_out = data, valid
        if len(told) > 1:
            rows, held_out = _of_part(data, "data", id), _of_part(valid, "valid", id)
        try:
            found = Dataset.reopen(asked, rows, held_out, training.seed, getattr(bound, "temporal", False))
        except ValueError as error:
            raise ValueError(f"{id}: {error}" if len(told) > 1 else str(error)) from None
        parts.append(Part(id, bound, found, weight))
    return artifact, parts, training


def _of_part(given: Any, name: str, id: str) -> Any:
    """The data of one of several parts, where it is given anew."""
    if given is None or isinstance(given, Mapping):
        return None if given is None else given.get(id)
    raise ValueError(f"the run has several parts; give {name} by id: resume(folder, {name}={{{id!r}: rows}})")
