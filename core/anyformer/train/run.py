"""A run: one training, in a folder that can be resumed, inspected and served.

```
runs/x/
  run.yaml         all that was asked, versions, seeds, fingerprint of the data
  prepared/        the model's description: tokenizers and state, fitted once
  checkpoints/     whole or absent; the newest is taken up
  metrics.jsonl    one line for each logged step and each evaluation
  adapter/         what LoRA learned, as peft writes it
  model/           the artifact, when the run has finished
  report.html      curves, scores beside baselines, pictures
```
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from anyformer import artifact as artifacts
from anyformer import durable, plugins
from anyformer.artifact import Artifact
from anyformer.train import adapter_files, checkpoint, lora
from anyformer.train.adapter_files import Layout
from anyformer.train.beginning import prepare_method, refuse_used
from anyformer.train.counts import Progress
from anyformer.train.engine import Engine, choose_device
from anyformer.train.log import Log
from anyformer.train.settings import Training
from anyformer.train.stop import Stopped, StopSignals

__all__ = ["Evaluate", "Run", "create", "refuse_used", "train"]

Evaluate = Callable[[Artifact], Mapping[str, Any]]


@dataclass
class Run:
    """A run folder."""

    folder: Path

    @property
    def model(self) -> Path:
        """The artifact."""
        return self.folder / "model"

    @property
    def settings(self) -> dict[str, Any]:
        """What run.yaml says. Raises `ValueError` if the folder is no run."""
        path = self.folder / "run.yaml"
        if not path.is_file():
            raise ValueError(f"{self.folder} is no run: it has no run.yaml")
        try:
            read = yaml.safe_load(path.read_text("utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}") from None
        if not isinstance(read, dict):
            raise ValueError(f"{path} is damaged: it holds no settings")
        return read

    @property
    def finished(self) -> bool:
        """Whether the artifact is there."""
        return (self.model / artifacts.NAME).is_file()

    @property
    def log(self) -> Log:
        """The lines of metrics.jsonl."""
        return Log(self.folder)

    @property
    def scores(self) -> dict[str, Any]:
        """The evaluation at the end: as `anyformer evaluate --json` prints it."""
        if not self.finished:
            return {}
        return json.loads((self.model / artifacts.NAME).read_text()).get("evaluation") or {}


def create(folder: Path, asked: Mapping[str, Any], artifact: Artifact, training: Training) -> Run:
    """A new run folder, whole at once: run.yaml, the model's description, and a checkpoint before the first step.

    The model gets its adapters here, and what is not to be trained is frozen. Raises `ValueError` if the folder is in use,
    or the settings ask for what the model, the data or the device has not.
    """
    refuse_used(folder)
    said = prepare_method(artifact, asked, training)
    if said is not None:
        asked = {**asked, "start": [*asked.get("start", ()), said]}
    with durable.whole(folder) as aside:
        (aside / "prepared").mkdir()
        artifacts.write_description(artifact, aside / "prepared")
        (aside / "run.yaml").write_text(yaml.safe_dump(dict(asked), sort_keys=False, allow_unicode=True), "utf-8")
        tensors = {f"model/{name}": tensor for name, tensor in artifacts.unique_tensors(artifact.model).items()}
        scalars = {"progress": vars(Progress()), "seconds": 0.0}
        checkpoint.save(aside / "checkpoints", 0, tensors, scalars, training.keep)
        if folder.is_dir():
            folder.rmdir()  # it was empty; if somebody has used it since, this refuses
    return Run(folder)


def train(
    run: Run, artifact: Artifact, component: str, records: Sequence[Any], settings: Training,
    evaluate: Evaluate | None = None, layout: Callable[[Artifact], Layout | None] | None = None,
) -> Artifact:  # fmt: skip
    """Train from the newest checkpoint, or from the start, to the end; returns the trained model on the CPU.

    Args:
        run: its folder.
        artifact: a model with the weights it was made with.
        component: id of what learns.
        records: of the training part.
        settings: as `create` was given them.
        evaluate: scores on the held-out part; None: there is none.
        layout: where an adapter's weights go in the layout of another library; None: they keep our names.

    Raises `Stopped` after a SIGTERM or Ctrl-C, when everything is saved.
    """
    device = choose_device(settings.device)
    artifact.model.to(device)
    engine = Engine(artifact.model, component, records, settings, device)
    engine.warn = lambda said: plugins.notify("run_warned", run=run.folder, warning=said)
    _take_up(run, engine)
    plugins.notify(
        "run_started", run=run.folder, settings={**run.settings, "steps": engine.num_steps, "step": engine.step}
    )
    reason = "failed"
    try:
        _loop(run, engine, artifact, evaluate)
        reason = "finished"
    except Stopped:
        reason = "interrupted"
        raise
    finally:
        plugins.notify("run_ended", run=run.folder, reason=reason)
    engine.settle()
    artifact.model.to("cpu").eval()
    if settings.lora is not None:
        learned = adapter_files.learned(artifact.model, settings.lora)
        lora.merge(artifact.model)
        with _writing(run, engine):
            adapter_files.write(run.folder / "adapter", learned, layout(artifact) if layout is not None else None)
    artifact.model.requires_grad_(True)
    return artifact


def _take_up(run: Run, engine: Engine) -> None:
    folder = run.folder / "checkpoints"
    durable.remove_unfinished(folder)
    found, problems = checkpoint.newest(folder)
    if found is None:
        why = f" ({problems[0]})" if problems else ""
        raise ValueError(f"{run.folder} has no checkpoint that is whole{why}; start the run again in another folder")
    for problem in problems:
        plugins.notify("run_warned", run=run.folder, warning=f"{problem}; an earlier one is taken")
    engine.restore(found.step, found.tensors, found.scalars)
    with _writing(run, engine):
        run.log.cut(engine.step)


def _loop(run: Run, engine: Engine, artifact: Artifact, evaluate: Evaluate | None) -> None:
    settings = engine.settings
    with StopSignals() as stop:
        while not engine.finished:
            line = engine.advance()
            if line is not None:
                _log(run, engine, line)
                plugins.notify("step_ended", run=run.folder, line=line)
            if evaluate is not None and _evaluates(engine):
                _evaluate(run, engine, artifact, evaluate)
            due = settings.save_every is not None and engine.step % settings.save_every == 0
            if due or engine.finished or stop.received is not None:
                _save(run, engine)
            if stop.received is not None:
                raise Stopped(
                    stop.received, f"stopped at step {engine.step}; go on with: anyformer resume {run.folder}"
                )


def _evaluates(engine: Engine) -> bool:
    """Whether the weights are scored after this step; the last are scored by whoever asked for the run, or compared here."""
    every = engine.settings.evaluate_every
    if engine.step == engine.num_steps:
        return engine.best is not None
    return every is not None and engine.step % every == 0


def _evaluate(run: Run, engine: Engine, artifact: Artifact, evaluate: Evaluate) -> None:
    with engine.evaluated():
        scores = evaluate(artifact)
        if engine.best is not None:
            engine.best.judge(engine.model, engine.step, scores)
    line = {"step": engine.step, **{f"valid/{name}": value for name, value in scores.items()}}
    _log(run, engine, line)
    plugins.notify("step_ended", run=run.folder, line=line)
    if engine.best is not None and engine.best.exhausted and engine.step < engine.num_steps:
        said = f"stopped early at step {engine.step}: {engine.best.said}"
        plugins.notify("run_warned", run=run.folder, warning=said)


def _log(run: Run, engine: Engine, line: dict[str, Any]) -> None:
    with _writing(run, engine):
        run.log.write(line)


def _save(run: Run, engine: Engine) -> None:
    """Write a checkpoint, unless the weights are worthless: then the earlier ones are all that can be used."""
    if (name := engine.not_finite()) is not None:
        kind = "state" if name.startswith(("optimizer/", "average/", "best/")) else "weight"
        raise ValueError(
            f"the {kind} {name!r} is no longer finite at step {engine.step}, which is not saved; the earlier "
            f"checkpoints of {run.folder} are whole; start again with a lower training.optimizer.lr"
        )
    with _writing(run, engine):
        run.log.sync()
        path = checkpoint.save(
            run.folder / "checkpoints", engine.step, engine.tensors(), engine.scalars(), engine.settings.keep
        )
    plugins.notify("checkpoint_saved", run=run.folder, checkpoint=path)


@contextmanager
def _writing(run: Run, engine: Engine) -> Iterator[None]:
    """A refusal of the operating system, such as a full disk, in one line that says how to go on."""
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"step {engine.step} cannot be written to {run.folder}: {error.strerror}; what was saved before is whole; "
            f"make room and go on with: anyformer resume {run.folder}"
        ) from error
