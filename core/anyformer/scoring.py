"""Scores of one component on held-out records, on the way and at the end: of a task beside its baselines, of an objective
the loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from anyformer.artifact import Artifact
from anyformer.data.packs import collate, cut
from anyformer.data.steps import Draw, record_rng
from anyformer.infer.evaluate import Evaluation, evaluate, score
from anyformer.infer.pipeline import TOKENS, Pipeline
from anyformer.task import Task

Scored = Evaluation | Mapping[str, float]
"""At the end: of a task an evaluation, of an objective `{"valid/loss": 2.1}`."""


def scores(artifact: Artifact, id: str, records: Sequence[Any]) -> dict[str, float]:
    """Scores by name, without intervals and baselines."""
    if not isinstance(artifact.model[id].task, Task):
        return {"loss": _loss(artifact, id, records)}
    return score(Pipeline(artifact.model, id), records)


def final(artifact: Artifact, id: str, records: Sequence[Any], folder: Path, data: str) -> Scored:
    """What a finished run scores; `folder` and `data` are what an evaluation calls the model and its data."""
    if not isinstance(artifact.model[id].task, Task):
        return {"valid/loss": _loss(artifact, id, records)}
    return evaluate(Pipeline(artifact.model, id), records, model=str(folder), data=data)


def _loss(artifact: Artifact, id: str, records: Sequence[Any]) -> float:
    """Mean loss over records, with the randomness of epoch 0."""
    model = artifact.model.eval()
    component, device = model[id], next(model.parameters()).device
    samples = (
        sample
        for index in range(len(records))
        for sample in component.task.learn(records[index], record_rng(0, Draw(0, index)))
    )
    sums: Counter[str] = Counter()
    weights: Counter[str] = Counter()
    with torch.inference_mode():
        for group in cut(samples, TOKENS):
            parts, targets = collate(group, device)
            sums.update({term: float(value) for term, value in model(parts, targets, id).items()})
            weights.update({term: float(value) for term, value in component.head.weigh(targets).items()})
    return sum(total / max(weights[term], 1.0) for term, total in sums.items())
