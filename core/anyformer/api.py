"""The Python API: load, pipeline, evaluate, export; finetune, pretrain, resume, verify_resume.

* Each function does what the command of the same name does, and raises `ValueError` in one line for a user's mistake.
* Those that learn stand in `anyformer.learning`, which is imported when one of them is first used.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyformer import artifact as artifacts
from anyformer import asking
from anyformer.artifact import Artifact
from anyformer.data import open_data
from anyformer.device import choose_device
from anyformer.families.files import is_checkpoint
from anyformer.families.hub import HUB, download
from anyformer.families.reading import read as read_checkpoint
from anyformer.families.writing import Written
from anyformer.families.writing import write as write_checkpoint
from anyformer.infer.evaluate import Evaluation
from anyformer.infer.evaluate import evaluate as evaluate_records
from anyformer.infer.pipeline import Pipeline

if TYPE_CHECKING:
    from anyformer.learning import finetune, pretrain, resume, verify_resume

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
        if not (folder / "model" / artifacts.NAME).is_file():
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
        asked, records, model=str(named(model)), data=str(named(data)), seed=seed, precision=precision, wide=wide,
        **options,
    )  # fmt: skip


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


def opened(model: str | Path | Artifact | None) -> Artifact | None:
    """A model that is given as it is or as where it lies."""
    return load(model) if isinstance(model, str | Path) else model


def named(value: Any) -> str | None:
    """A model or data as a report names it."""
    if value is None:
        return None
    return str(value) if isinstance(value, str | Path) else "in memory"


def __getattr__(name: str) -> Any:
    if name in ("finetune", "pretrain", "resume", "verify_resume"):
        return getattr(importlib.import_module("anyformer.learning"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
