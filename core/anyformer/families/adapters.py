"""Where an adapter's weights go in the layout of the home library: the rows of a family's table, with our full names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from anyformer.artifact import Artifact
from anyformer.families import writing
from anyformer.families.reading import full_name
from anyformer.families.steps import Step
from anyformer.task import Task


def layout(artifact: Artifact, component: str) -> Sequence[Step] | None:
    """The rows of the layout in which `export` would write this model; None where no family can express it."""
    task = artifact.model[component].task
    if not isinstance(task, Task):
        return None
    try:
        chosen = writing.choose(artifact, component, task, None)
    except ValueError:
        return None
    return [
        replace(step, ours=tuple(full_name(name, component) for name in step.ours))
        for step in chosen.table()
        if step.kind == "weight"
    ]
