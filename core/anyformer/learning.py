"""The half of the Python API that learns: finetune, pretrain, resume, verify_resume. `anyformer.api` gives all of it.

It stands apart so that who only asks a model does not wait for the import of the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anyformer import launch, plugins, starting
from anyformer import mixture as mixtures
from anyformer.api import named, opened
from anyformer.artifact import Artifact
from anyformer.data.dataset import Dataset
from anyformer.parts import Begun, Part, reopened
from anyformer.train import run as runs
from anyformer.train import verify
from anyformer.train.prepare import new_objective, new_task, objective_named, objective_settings, task_settings
from anyformer.train.run import Run

__all__ = ["finetune", "pretrain", "resume", "verify_resume"]


def finetune(
    task: str, *, data: Any, out: str | Path, valid: Any = None, columns: Any = None,
    model: str | Path | Artifact | None = None, preset: str | None = None,
    settings: Mapping[str, Any] | str | Path | None = None, overrides: Sequence[str] = (),
) -> Run:  # fmt: skip
    """Train a task, from scratch or from a model, and evaluate it beside its baselines.

    Args:
        task: full or bare id.
        data: a file, a file's rows `file.csv[:100]`, a pattern, a folder, `{field: file}`, or rows in memory.
        out: the run's folder, new or empty.
        valid: held-out data, a share of `data` to hold out (default 0.1), or "none".
        columns: names of a headerless file's columns, or `{field: column}`.
        model: where trunk, tokenizers, embedding and head are taken over from, as far as they fit.
        preset: a named trunk.
        settings: nested settings, or a YAML file of them.
        overrides: `key=value`, dotted: `training.steps=500`; `trunk=FOLDER` takes a trunk alone, from any domain's model.
    """
    folder = Path(out)

    def create() -> Begun:
        runs.refuse_used(folder)
        id = plugins.task_id(task)
        kind = plugins.task(id)
        given = starting.asked(launch.layers(settings), overrides)
        begin = starting.beginning(id, kind, opened(model), preset, opened(given.trunk_of), given)
        chosen = task_settings(kind, [*begin.layers, *given.layers], given.overrides, begin.trunk)
        starting.check_trunk(id, kind.trunk, chosen.trunk, begin.artifact)
        rows = Dataset.open(data, valid, columns, chosen.training.seed, kind.temporal)
        bound = new_task(kind, chosen, rows.train, begin.artifact)
        asked = {"kind": "task", "id": id, "model": named(model), "preset": preset, "trunk": given.trunk_of}
        return launch.create(folder, asked, [Part(id, bound, rows)], chosen, begin)

    return launch.start(folder, create, lambda: (data, valid))


def pretrain(
    objective: str | None = None, *, tokenizer: str | None = None, data: Any = None, out: str | Path, valid: Any = None,
    columns: Any = None, mixture: mixtures.Given | None = None, model: str | Path | Artifact | None = None,
    preset: str | None = None, settings: Mapping[str, Any] | str | Path | None = None, overrides: Sequence[str] = (),
) -> Run:  # fmt: skip
    """Train a trunk without labels, `pretrain("next-token", tokenizer="weather/codes", data="*.txt", out="runs/reports")`,
    or on several tasks and objectives at once, `pretrain(mixture="all.yaml", out="runs/all")`.

    Args:
        objective: `next-token`, `masked-token`, `span-corruption`, `denoising` or `masked-patch`.
        tokenizer: of the objective: full or bare id of a plugin's tokenizer.
        data: of the objective: as for `finetune`.
        out: the run's folder, new or empty.
        valid: as for `finetune`; the loss on it is reported.
        columns: as for `finetune`.
        mixture: instead of an objective: its parts, a mapping with them under `mixture`, or a YAML file of that.
        model: a model to go on from.
        preset: a named trunk.
        settings: nested settings, or a YAML file of them.
        overrides: `key=value`, dotted.
    """
    folder = Path(out)
    if mixture is not None:
        if not (objective is tokenizer is data is valid is columns is None):
            raise ValueError(
                "a mixture names objective, tokenizer, data, valid and columns part by part; leave them out"
            )
        given = mixture
        return launch.start(
            folder, lambda: _create_mixture(given, folder, model, preset, settings, overrides),
            lambda: mixtures.data_of(mixtures.asked(given, launch.layers(settings), overrides)),
        )  # fmt: skip
    if objective is None or tokenizer is None or data is None:
        raise ValueError("pretraining needs an objective, its tokenizer and data; or a mixture of several")

    def create() -> Begun:
        runs.refuse_used(folder)
        full = plugins.tokenizer_id(tokenizer)
        kind = plugins.tokenizer(full)
        learns = objective_named(objective)
        given = starting.asked(launch.layers(settings), overrides)
        begin = starting.beginning(objective, learns, opened(model), preset, opened(given.trunk_of), given)
        layers = [*begin.layers, *given.layers]
        chosen = objective_settings(objective, kind, layers, given.overrides, begin.trunk)
        starting.check_trunk(objective, learns.trunk, chosen.trunk, begin.artifact)
        rows = Dataset.open(data, valid, columns, chosen.training.seed, temporal=False)
        bound = new_objective(objective, full, chosen, rows.train, begin.artifact)
        asked = {"kind": "objective", "id": objective, "tokenizer": full, "model": named(model), "preset": preset}
        return launch.create(
            folder, asked | {"trunk": given.trunk_of}, [Part(objective, bound, rows)], chosen, begin
        )  # fmt: skip

    return launch.start(folder, create, lambda: (data, valid))


def _create_mixture(
    given: mixtures.Given, folder: Path, model: str | Path | Artifact | None, preset: str | None,
    settings: Mapping[str, Any] | str | Path | None, overrides: Sequence[str],
) -> Begun:  # fmt: skip
    runs.refuse_used(folder)
    asked = mixtures.asked(given, launch.layers(settings), overrides)
    found = mixtures.opened(asked, opened(model), preset, opened(asked.trunk_of))
    page = {"kind": "mixture", "id": "mixture", "model": named(model), "preset": preset, "trunk": asked.trunk_of}
    return launch.create(folder, page, found.parts, found.settings, found.begin)


def resume(folder: str | Path, *, data: Any = None, valid: Any = None) -> Run:
    """Go on with a run from its newest checkpoint; a run that has finished is returned as it is.

    `data` and `valid` are needed only where they were given in memory; for a mixture they are mappings, by the part's id.
    Raises `ValueError` if the data has changed.
    """
    run = Run(Path(folder))
    if run.finished:
        return run
    return launch.go_on(run, *reopened(run, data, valid))


def verify_resume(folder: str | Path, *, steps: int = verify.STEPS) -> verify.Verification:
    """Whether a run that is stopped and resumed learns the same: tried in copies of it, which is itself not changed.

    Args:
        folder: of a run, finished or not, whose data is in files.
        steps: how many are trained, once straight on and once with a stop between.

    Raises `ValueError` if the run's data was in memory or has changed, or if it has no checkpoint to go on from.
    """
    run = Run(Path(folder))
    verify.require_files(run)
    _, parts, training = reopened(run)
    return verify.verify(run, training, training.num_steps(sum(len(part.course.records) for part in parts)), steps)
