"""The Python API: load, pipeline, finetune, pretrain, resume, verify_resume, evaluate.

Each function does what the command of the same name does, and raises `ValueError` in one line for a user's mistake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anyformer import artifact as artifacts
from anyformer import asking, launch, plugins, starting
from anyformer import mixture as mixtures
from anyformer.artifact import Artifact
from anyformer.data import open_data
from anyformer.data.dataset import Dataset
from anyformer.families.files import is_checkpoint
from anyformer.families.hub import HUB, download
from anyformer.families.reading import read as read_checkpoint
from anyformer.families.writing import Written
from anyformer.families.writing import write as write_checkpoint
from anyformer.infer.evaluate import Evaluation
from anyformer.infer.evaluate import evaluate as evaluate_records
from anyformer.infer.pipeline import Pipeline
from anyformer.parts import Begun, Part, reopened
from anyformer.train import run as runs
from anyformer.train import verify
from anyformer.train.engine import choose_device
from anyformer.train.prepare import new_objective, new_task, objective_named, objective_settings, task_settings
from anyformer.train.run import Run

__all__ = ["evaluate", "export", "finetune", "load", "pipeline", "pretrain", "resume", "verify_resume"]


def load(path: str | Path, device: str = "cpu", task: str | None = None) -> Artifact:
    """A model: a run folder, an artifact, or a checkpoint of another library.

    Args:
        path: a folder; or `hf://owner/name`, with `@revision` after it if wanted, which is downloaded.
        device: `cpu`, `cuda`, or `auto`.
        task: of a checkpoint that serves several, the id of the one that is wanted.

    Raises `ValueError` if nothing that can be loaded is there, or a plugin it needs is missing.
    """
    folder = download(path) if str(path).startswith(HUB) else Path(path)
    if is_checkpoint(folder) and not (folder / artifacts.NAME).is_file():
        return read_checkpoint(folder, task, choose_device(device))
    if (folder / "run.yaml").is_file():
        if not Run(folder).finished:
            raise ValueError(f"the run {folder} has not finished; go on with: anyformer resume {folder}")
        folder = folder / "model"
    return artifacts.load(folder, choose_device(device))


def pipeline(
    task: str | None = None, *, model: str | Path | Artifact, device: str = "cpu", precision: str | None = None
) -> Pipeline:
    """A task made callable: `pipeline("weather/rain-tomorrow", model="runs/rain")({"week": [...]})`.

    Args:
        task: full or bare id; without it, the only task of the model.
        model: a run folder, an artifact's folder, or a loaded model.
        device: `cpu`, `cuda`, or `auto`.
        precision: `fp32`, `bf16`, `int8` or `fp16-weights`: the model is made ready for this machine, which takes a moment,
            and answers sooner (see `evaluate` for what the low ones cost); None: as it was trained.
    """
    artifact = model if isinstance(model, Artifact) else load(model, device, asking.full(task))
    return asking.asked(artifact, task, precision)


def evaluate(
    task: str | None = None, *, model: str | Path | Artifact, data: Any, columns: Any = None, seed: int = 0,
    device: str = "cpu", precision: str | None = None, **options: Any,
) -> Evaluation:  # fmt: skip
    """Score a model on data beside the task's baselines, with intervals and a verdict.

    Args:
        task: full or bare id; without it, the only task of the model.
        model: a run folder, an artifact's folder, or a loaded model.
        data: as for `finetune`.
        columns: as for `finetune`.
        seed: of the bootstrap.
        device: where the model runs.
        precision: as for `pipeline`; fp32 answers the same records beside a lower one, and what it costs is in
            `Evaluation.precision`.
        options: of the task's calls.
    """
    artifact = model if isinstance(model, Artifact) else load(model, device, asking.full(task))
    asked, wide = asking.asked(artifact, task, precision), asking.beside(artifact, task, precision)
    records = asked.task.records(open_data(data, columns))
    return evaluate_records(
        asked, records, model=str(_named(model)), data=str(_named(data)), seed=seed, precision=precision, wide=wide,
        **options,
    )  # fmt: skip


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
        begin = starting.beginning(id, kind, _opened(model), preset, _opened(given.trunk_of), given)
        chosen = task_settings(kind, [*begin.layers, *given.layers], given.overrides, begin.trunk)
        starting.check_trunk(id, kind.trunk, chosen.trunk, begin.artifact)
        rows = Dataset.open(data, valid, columns, chosen.training.seed, kind.temporal)
        bound = new_task(kind, chosen, rows.train, begin.artifact)
        asked = {"kind": "task", "id": id, "model": _named(model), "preset": preset, "trunk": given.trunk_of}
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
        begin = starting.beginning(objective, learns, _opened(model), preset, _opened(given.trunk_of), given)
        layers = [*begin.layers, *given.layers]
        chosen = objective_settings(objective, kind, layers, given.overrides, begin.trunk)
        starting.check_trunk(objective, learns.trunk, chosen.trunk, begin.artifact)
        rows = Dataset.open(data, valid, columns, chosen.training.seed, temporal=False)
        bound = new_objective(objective, full, chosen, rows.train, begin.artifact)
        asked = {"kind": "objective", "id": objective, "tokenizer": full, "model": _named(model), "preset": preset}
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
    found = mixtures.opened(asked, _opened(model), preset, _opened(asked.trunk_of))
    page = {"kind": "mixture", "id": "mixture", "model": _named(model), "preset": preset, "trunk": asked.trunk_of}
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


def export(
    model: str | Path | Artifact, out: str | Path, to: str = "huggingface", task: str | None = None,
    family: str | None = None,
) -> Written:  # fmt: skip
    """Write a model as a folder that another library loads.

    Args:
        model: a run folder, an artifact's folder, or a loaded model.
        out: new or empty.
        to: `huggingface`: `config.json`, safetensors, and the tokenizer's files where it has some.
        task: which of the model's tasks; without it, the only one.
        family: id of the layout; None: the one the model came from, or the first that can express it.
    """
    if to != "huggingface":
        raise ValueError(f"unknown format {to!r}; there is: huggingface")
    artifact = model if isinstance(model, Artifact) else load(model)
    return write_checkpoint(artifact, Path(out), artifact.component(task), family)


def _opened(model: str | Path | Artifact | None) -> Artifact | None:
    return load(model) if isinstance(model, str | Path) else model


def _named(value: Any) -> str | None:
    """A model or data as a report names it."""
    if value is None:
        return None
    return str(value) if isinstance(value, str | Path) else "in memory"
