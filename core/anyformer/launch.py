"""A run from its first step to its report: what `finetune`, `pretrain` and `resume` share.

Nothing is written before the data, the settings and the model have all been found good.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from anyformer import artifact as artifacts
from anyformer import report, tensorboard
from anyformer.artifact import Artifact, Bound
from anyformer.data.dataset import Dataset
from anyformer.data.packs import collate, cut
from anyformer.data.steps import Draw, record_rng
from anyformer.families.adapters import layout
from anyformer.infer.evaluate import evaluate, json_values, score
from anyformer.infer.pipeline import TOKENS, Pipeline
from anyformer.nn import Head
from anyformer.plan.counted import run_flops_per_token
from anyformer.plan.devices import peak_of_run
from anyformer.settings import read
from anyformer.starting import Beginning
from anyformer.task import Objective, Task
from anyformer.train import run as runs
from anyformer.train.engine import choose_device
from anyformer.train.prepare import check_records, new_model, try_out
from anyformer.train.run import Run
from anyformer.train.settings import Settings, Training


def layers(settings: Mapping[str, Any] | str | Path | None) -> list[Mapping[str, Any]]:
    """Settings given as a mapping or as a YAML file. Raises `ValueError` for a file that is no mapping."""
    if settings is None:
        return []
    return [settings if isinstance(settings, Mapping) else read(Path(settings))]


def start(
    folder: Path, asked: Mapping[str, Any], id: str, bound: Bound, data: Dataset, settings: Settings,
    begin: Beginning,
) -> Run:  # fmt: skip
    """Check everything, make the run's folder, train and report."""
    seed = settings.training.seed
    choose_device(settings.training.device)
    lengths = check_records(bound, bound.records(data.train), seed)
    artifact, taken = new_model(id, bound, settings, begin.artifact)
    try_out(artifact, id, lengths.longest, seed)
    if len(data.valid):
        try:
            try_out(artifact, id, check_records(bound, bound.records(data.valid), seed).longest, seed)
        except ValueError as error:
            raise ValueError(f"{data.valid_name}: {error}") from None
    flops = None
    if peak_of_run(settings.training.model_dump()) is not None:
        flops = run_flops_per_token(artifact.model, id, bound.records(data.train), seed)
    page = {
        "anyformer": version("anyformer"),
        "torch": str(torch.__version__),
        **asked,
        "data": data.asked,
        "start": [*taken, *begin.said],
        "tokens_per_record": round(lengths.mean, 2),
        "flops_per_token": flops,
        "parameters": sum(p.numel() for p in artifact.model.parameters()),
        "settings": settings.model_dump(mode="json"),
    }
    run = runs.create(folder, page, artifact, settings.training)
    return go_on(run, artifact, id, bound, data, settings.training)


def go_on(run: Run, artifact: Artifact, id: str, bound: Bound, data: Dataset, training: Training) -> Run:
    """Train from the newest checkpoint to the end, evaluate, write the artifact and the report."""

    def periodic(current: Artifact) -> dict[str, float]:
        return _scores(current, id, bound, data)

    records = bound.records(data.train)
    scores = periodic if len(data.valid) else None
    with tensorboard.listening(training.tensorboard):
        trained = runs.train(run, artifact, id, records, training, scores, lambda found: layout(found, id))
    evaluation = None
    if len(data.valid) and isinstance(bound, Task):
        evaluation = evaluate(
            Pipeline(trained.model, id), bound.records(data.valid), model=str(run.folder), data=data.valid_name
        )
        (run.folder / "scores.json").write_text(json.dumps(evaluation.as_dict(), indent=1))
        artifact.info["evaluation"] = evaluation.as_dict()
    elif len(data.valid):
        artifact.info["evaluation"] = json_values({"valid/loss": _valid_loss(trained, id, bound, data)})
    artifact.info["data"] = data.asked["fingerprint"]
    scored = evaluation or artifact.info.get("evaluation")
    report.write_run(run, Pipeline(trained.model, id) if isinstance(bound, Task) else None, data, scored)
    artifacts.save(trained, run.model)
    return run


def _scores(artifact: Artifact, id: str, bound: Bound, data: Dataset) -> dict[str, float]:
    """Scores on the held-out part, without intervals: what a run logs as it goes."""
    if isinstance(bound, Objective):
        return {"loss": _valid_loss(artifact, id, bound, data)}
    return score(Pipeline(artifact.model, id), bound.records(data.valid))


def _valid_loss(artifact: Artifact, id: str, bound: Bound, data: Dataset) -> float:
    """Mean loss over the held-out records, with the randomness of epoch 0."""
    model = artifact.model.eval()
    device = next(model.parameters()).device
    head: Head = model[id].head
    records: Sequence[Any] = bound.records(data.valid)
    samples = (s for index in range(len(records)) for s in bound.learn(records[index], record_rng(0, Draw(0, index))))
    sums: Counter[str] = Counter()
    weights: Counter[str] = Counter()
    with torch.inference_mode():
        for group in cut(samples, TOKENS):
            parts, targets = collate(group, device)
            sums.update({term: float(value) for term, value in model(parts, targets, id).items()})
            weights.update({term: float(value) for term, value in head.weigh(targets).items()})
    return sum(total / max(weights[term], 1.0) for term, total in sums.items())
