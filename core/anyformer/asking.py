"""From a loaded model to a pipeline: which of its tasks, at which precision."""

from __future__ import annotations

from anyformer import plugins
from anyformer.artifact import OVER, Artifact
from anyformer.infer.evaluation import FP32
from anyformer.infer.pipeline import Pipeline
from anyformer.objectives import OBJECTIVES


def full(task: str | None) -> str | None:
    """The full id of a task; None, and the id of an objective, stay as they are."""
    return task if task is None or task.partition(OVER)[0] in OBJECTIVES else plugins.task_id(task)


def asked(artifact: Artifact, task: str | None, precision: str | None) -> Pipeline:
    """A task of a model, `None` being the only one; with a precision, made ready for this machine.

    Raises `ValueError` for a task that the model does not have, and for a precision that is unknown or not to be had.
    """
    component = artifact.component(full(task))
    if precision is None:
        return Pipeline(artifact.model, component)
    from anyformer.infer.prepare import prepare

    return Pipeline(prepare(artifact.model, precision), component)  # type: ignore[arg-type]  # it refuses other names


def beside(artifact: Artifact, task: str | None, precision: str | None) -> Pipeline | None:
    """What a low precision is compared with: the same model ready in fp32; None where nothing low was asked for."""
    return None if precision in (None, FP32) else asked(artifact, task, FP32)
