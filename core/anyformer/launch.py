"""A run from its first step to its report: what `finetune`, `pretrain` and `resume` share.

Nothing is written before the data, the settings and the model have all been found good.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml

from anyformer import artifact as artifacts
from anyformer import plugins, report
from anyformer.artifact import Artifact, Bound
from anyformer.data.dataset import Dataset
from anyformer.data.packs import collate, cut
from anyformer.data.steps import Draw, record_rng
from anyformer.infer.evaluate import Evaluation, evaluate
from anyformer.infer.pipeline import Pipeline
from anyformer.nn import Head, config
from anyformer.task import Objective, Task
from anyformer.train import run as runs
from anyformer.train.prepare import check_records, new_model
from anyformer.train.run import Run
from anyformer.train.settings import Settings, Training


def layers(settings: Mapping[str, Any] | str | Path | None) -> list[Mapping[str, Any]]:
    """Settings given as a mapping or as a YAML file. Raises `ValueError` for a file that is no mapping."""
    if settings is None:
        return []
    if isinstance(settings, Mapping):
        return [settings]
    path = Path(settings)
    try:
        read = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ValueError(f"cannot read the settings {str(path)!r}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(read, Mapping):
        raise ValueError(f"{path} must hold settings by name, e.g. training: {{steps: 500}}")
    return [read]


def given_trunk(start: Artifact | None, preset: str | None) -> config.Trunk | None:
    """The trunk that a model to start from, or a preset, decides. Raises `ValueError` if both are given."""
    if start is not None and preset is not None:
        raise ValueError("give a model to start from or a preset, not both: the model's trunk is what it is")
    if start is not None:
        return start.trunk
    return None if preset is None else plugins.preset(preset)()


def check_trunk(id: str, needs: str, trunk: config.Trunk, start: Artifact | None) -> None:
    """Raise `ValueError` if the trunk lacks a half that the task needs, or is not that of the model to start from."""
    for half in ("encoder", "decoder"):
        if needs in (half, "both") and getattr(trunk, half) is None:
            raise ValueError(f"{id} needs a trunk with {'an' if half == 'encoder' else 'a'} {half}; this one has none")
    if start is not None and start.trunk != trunk:
        raise ValueError("the trunk of the model to start from cannot be changed; leave out the settings under trunk")


def start(
    folder: Path, asked: Mapping[str, Any], id: str, bound: Bound, data: Dataset, settings: Settings,
    begin: Artifact | None,
) -> Run:  # fmt: skip
    """Check everything, make the run's folder, train and report."""
    records = _records(bound, data.train)
    tokens = check_records(bound, records, settings.training.seed)
    if len(data.valid):
        valid = _records(bound, data.valid)
        if not len(valid):
            raise ValueError(f"{data.valid_name} has no records to evaluate on")
        check_records(bound, valid, settings.training.seed)
    artifact, taken = new_model(id, bound, settings, begin)
    page = {
        "anyformer": version("anyformer"),
        "torch": str(torch.__version__),
        **asked,
        "data": data.asked,
        "start": taken,
        "tokens_per_record": round(tokens, 2),
        "parameters": sum(p.numel() for p in artifact.model.parameters()),
        "settings": settings.model_dump(mode="json"),
    }
    run = runs.create(folder, page, artifact, settings.training)
    return go_on(run, artifact, id, bound, data, settings.training)


def go_on(run: Run, artifact: Artifact, id: str, bound: Bound, data: Dataset, training: Training) -> Run:
    """Train from the newest checkpoint to the end, evaluate, write the artifact and the report."""

    def periodic(current: Artifact) -> dict[str, float]:
        return _scores(current, id, bound, data)

    records = _records(bound, data.train)
    trained = runs.train(run, artifact, id, records, training, periodic if len(data.valid) else None)
    evaluation = None
    if len(data.valid) and isinstance(bound, Task):
        evaluation = evaluate(
            Pipeline(trained.model, id), bound.records(data.valid), model=str(run.folder), data=data.valid_name
        )
        (run.folder / "scores.json").write_text(json.dumps(evaluation.as_dict(), indent=1))
        artifact.info["evaluation"] = evaluation.as_dict()
    elif len(data.valid):
        artifact.info["evaluation"] = {"valid/loss": _valid_loss(trained, id, bound, data)}
    artifact.info["data"] = data.asked["fingerprint"]
    scored = evaluation or artifact.info.get("evaluation")
    report.write_run(run, Pipeline(trained.model, id) if isinstance(bound, Task) else None, data, scored)
    artifacts.save(trained, run.model)
    return run


def _records(bound: Bound, rows: Sequence[Any]) -> Sequence[Any]:
    return bound.records(rows)


def _scores(artifact: Artifact, id: str, bound: Bound, data: Dataset) -> dict[str, float]:
    """Scores on the held-out part, without intervals: what a run logs as it goes."""
    if isinstance(bound, Objective):
        return {"loss": _valid_loss(artifact, id, bound, data)}
    found: Evaluation = evaluate(Pipeline(artifact.model, id), bound.records(data.valid))
    return {name: score["value"] for name, score in found.scores.items()}


def _valid_loss(artifact: Artifact, id: str, bound: Bound, data: Dataset) -> float:
    """Mean loss over the held-out records, with the randomness of epoch 0."""
    model = artifact.model.eval()
    device = next(model.parameters()).device
    head: Head = model[id].head
    total, weight = 0.0, 0.0
    records = _records(bound, data.valid)
    samples = [s for index in range(len(records)) for s in bound.learn(records[index], record_rng(0, Draw(0, index)))]
    with torch.inference_mode():
        for group in cut(samples, 16384):
            parts, targets = collate(group, device)
            total += sum(float(value) for value in model(parts, targets, id).values())
            weight += sum(float(value) for value in head.weigh(targets).values())
    return total / max(weight, 1.0)
