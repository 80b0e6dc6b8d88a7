"""A run from its first step to its report: what `finetune`, `pretrain` and `resume` share.

* Nothing is written before the data, the settings and the model have all been found good.
* A run has one part, or several that share the trunk. With several, messages and scores begin with the part's id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from anyformer import artifact as artifacts
from anyformer import report, scoring, tensorboard
from anyformer.artifact import Artifact
from anyformer.device import choose_device
from anyformer.families.adapters import layout
from anyformer.infer.evaluate import Evaluation, json_values
from anyformer.infer.pipeline import Pipeline
from anyformer.parts import Begun, Part, reopened
from anyformer.plan.counted import run_flops_per_token
from anyformer.plan.devices import peak_of_run
from anyformer.report import Shown
from anyformer.settings import read
from anyformer.starting import Beginning
from anyformer.task import Task
from anyformer.train import checkpoint
from anyformer.train import run as runs
from anyformer.train.courses import Course, quotas
from anyformer.train.parallel.world import job, join, leave, lost, meet, require_fit, restarted
from anyformer.train.prepare import Lengths, check_records, new_model, try_out
from anyformer.train.run import Run
from anyformer.train.settings import Settings, Training
from anyformer.train.writing import writing


def layers(settings: Mapping[str, Any] | str | Path | None) -> list[Mapping[str, Any]]:
    """Settings given as a mapping or as a YAML file. Raises `ValueError` for a file that is no mapping."""
    if settings is None:
        return []
    return [settings if isinstance(settings, Mapping) else read(Path(settings))]


def start(folder: Path, make: Callable[[], Begun], rows: Callable[[], tuple[Any, Any]]) -> Run:
    """Let the first process begin a run, and all of them go on with it; alone, that is this process.

    Args:
        folder: of the run.
        make: checks everything and makes the folder; not called where `torchrun` has started the processes again.
        rows: what the run learns from and what it is scored on, as `resume` takes them: so the others open the run.

    What `make` raises is raised by all, so that none waits in vain.
    """
    world = meet()
    begun, problem = None, None
    if world.leads and not _begun_before(folder):
        try:
            begun = make()
        except ValueError as error:
            if world.size == 1:
                raise
            problem = str(error)
    if (told := world.tell(problem)) is not None:
        raise ValueError(told)
    checkpoint.require_shared(folder, world)
    if begun is None:
        begun = reopened(Run(folder), *rows())
    return go_on(Run(folder), *begun)


def _begun_before(folder: Path) -> bool:
    """Whether the folder holds a run that these processes began before `torchrun` started them again: not another's."""
    return restarted() and (folder / "run.yaml").is_file() and Run(folder).settings.get("job") == job()


def create(
    folder: Path, asked: Mapping[str, Any], parts: Sequence[Part], settings: Settings, begin: Beginning
) -> Begun:
    """Check everything and make the run's folder; returns what goes on.

    Args:
        folder: of the run.
        asked: what run.yaml says first.
        parts: one or more.
        settings: of the run; those of a run with several parts have no `config` and no `tokenizers`.
        begin: what it starts from.
    """
    require_fit(settings.training.parallel)
    training = settings.training
    choose_device(training.device)
    if training.selection is not None and len(parts) > 1:
        _require_held_out(parts)
    courses = [part.course for part in parts]
    taken_by_step = quotas(courses, training.records)
    lengths: list[Lengths] = []
    for part, course in zip(parts, courses, strict=True):
        with _named(part, parts):
            lengths.append(check_records(part.bound, course.records, training.seed))
    artifact, taken = new_model({part.id: part.bound for part in parts}, settings, begin.artifact)
    for part, found in zip(parts, lengths, strict=True):
        with _named(part, parts):
            _try_out(artifact, part, found, training.seed)
    told = [
        {**part.asked, "data": part.data.asked, "tokens_per_record": round(found.mean, 2)}
        for part, found in zip(parts, lengths, strict=True)
    ]
    tokens = [count * found.mean for count, found in zip(taken_by_step, lengths, strict=True)]
    page = {
        "anyformer": version("anyformer"),
        "torch": str(torch.__version__),
        **asked,
        **({"job": job()} if job() is not None else {}),
        **(told[0] if len(told) == 1 else {"parts": told}),
        "start": [*taken, *begin.said],
        "flops_per_token": _flops_per_token(artifact, courses, tokens, training),
        "parameters": sum(p.numel() for p in artifact.model.parameters()),
        "settings": {name: value for name, value in settings.model_dump(mode="json").items() if value is not None},
    }
    runs.create(folder, page, artifact, training)
    return artifact, list(parts), training


def go_on(run: Run, artifact: Artifact, parts: Sequence[Part], training: Training) -> Run:
    """Train from the newest checkpoint to the end; the first process evaluates, writes the artifact and the report."""
    world = join(training.parallel, choose_device(training.device))
    scored = [part for part in parts if len(part.data.valid)]
    alone = len(parts) == 1

    def periodic(current: Artifact) -> dict[str, float]:
        """Scores without intervals: what a run logs as it goes."""
        found = {part.id: scoring.scores(current, part.id, part.held_out) for part in scored}
        if alone:
            return found[parts[0].id]
        return {f"{id}/{name}": value for id, values in found.items() for name, value in values.items()}

    with tensorboard.listening(training.tensorboard), lost(world, run.folder):
        trained = runs.train(
            run, artifact, [part.course for part in parts], training, periodic if scored else None,
            lambda found: layout(found, parts[0].id) if alone else None, world,
        )  # fmt: skip
        if world.leads:
            _finish(run, trained, parts, training)
        world.wait()
    leave()
    return run


def _finish(run: Run, trained: Artifact, parts: Sequence[Part], training: Training) -> None:
    """Evaluate, write the report and, last, the artifact: with it the run is finished."""
    scored, alone = [part for part in parts if len(part.data.valid)], len(parts) == 1
    if training.parallel.shard * training.parallel.tensor == 1:  # what was split may not fit on one device
        trained.model.to(choose_device(training.device))
    evaluations = {
        part.id: scoring.final(trained, part.id, part.held_out, run.folder, part.data.valid_name) for part in scored
    }
    _keep_scores(run, trained, evaluations, alone)
    fingerprints = {part.id: part.data.asked["fingerprint"] for part in parts}
    trained.info["data"] = fingerprints[parts[0].id] if alone else fingerprints
    with writing("report.html", run.folder):
        report.write_run(run, [_shown(trained, part, evaluations.get(part.id)) for part in parts])
    with writing("the model", run.folder):
        trained.model.to("cpu")
        artifacts.save(trained, run.model)


def _require_held_out(parts: Sequence[Part]) -> None:
    """Raise `ValueError` if one of several parts cannot be scored on the way."""
    for part in parts:
        if not len(part.data.valid):
            raise ValueError(
                f"{part.id}: training.selection needs held-out data; give some with valid, or leave the setting out"
            )


def _keep_scores(run: Run, artifact: Artifact, evaluations: Mapping[str, scoring.Scored], alone: bool) -> None:
    """Put the scores into the artifact, those of tasks into a file of their own too; by id where there are several parts."""
    values = {
        id: found.as_dict() if isinstance(found, Evaluation) else json_values(dict(found))
        for id, found in evaluations.items()
    }
    if not values:
        return
    kept = next(iter(values.values())) if alone else values
    artifact.info["evaluation"] = kept
    if any(isinstance(found, Evaluation) for found in evaluations.values()):
        with writing("scores.json", run.folder):
            (run.folder / "scores.json").write_text(json.dumps(kept, indent=1))


def _shown(artifact: Artifact, part: Part, evaluation: scoring.Scored | None) -> Shown:
    pipeline = Pipeline(artifact.model, part.id) if isinstance(part.bound, Task) else None
    return Shown(part.id, pipeline, part.data, evaluation)


def _try_out(artifact: Artifact, part: Part, lengths: Lengths, seed: int) -> None:
    """Send the longest records of both data sets through the model."""
    try_out(artifact, part.id, lengths.longest, seed)
    if len(part.data.valid):
        try:
            try_out(artifact, part.id, check_records(part.bound, part.held_out, seed).longest, seed)
        except ValueError as error:
            raise ValueError(f"{part.data.valid_name}: {error}") from None


def _flops_per_token(
    artifact: Artifact, courses: Sequence[Course], tokens: Sequence[float], training: Training
) -> float | None:
    """Operations for a token of a step that has `tokens` of each course; None where they would be compared with nothing."""
    if peak_of_run(training.model_dump()) is None:
        return None
    costs = [
        run_flops_per_token(artifact.model, course.component, course.records, training.seed) * count
        for course, count in zip(courses, tokens, strict=True)
    ]
    return sum(costs) / sum(tokens)


@contextmanager
def _named(part: Part, parts: Sequence[Part]) -> Iterator[None]:
    """Says in front of an error which of several parts it is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{part.id}: {error}" if len(parts) > 1 else str(error)) from None
