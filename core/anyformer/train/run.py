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

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from anyformer import artifact as artifacts
from anyformer import durable, plugins
from anyformer.artifact import Artifact
from anyformer.device import choose_device
from anyformer.train import adapter_files, checkpoint, lora
from anyformer.train.adapter_files import Layout
from anyformer.train.beginning import prepare_method, refuse_used
from anyformer.train.counts import Progress
from anyformer.train.courses import Course
from anyformer.train.engine import Engine
from anyformer.train.log import Log
from anyformer.train.parallel.gathering import gathered
from anyformer.train.parallel.world import ALONE, World
from anyformer.train.settings import Training
from anyformer.train.stop import Stopped, StopSignals
from anyformer.train.trainable import choose_trainable
from anyformer.train.writing import writing

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
    run: Run, artifact: Artifact, courses: Sequence[Course], settings: Training, evaluate: Evaluate | None = None,
    layout: Callable[[Artifact], Layout | None] | None = None, world: World = ALONE,
) -> Artifact:  # fmt: skip
    """Train from the newest checkpoint, or from the start, to the end; returns the trained model on the CPU.

    Args:
        run: its folder, which all ranks see.
        artifact: a model with the weights it was made with.
        courses: what it learns from.
        settings: as `create` was given them.
        evaluate: scores on the held-out part, called on the first rank alone; None: there is none.
        layout: where an adapter's weights go in the layout of another library; None: they keep our names.
        world: the processes that share the run; each calls this.

    Raises `Stopped` after a SIGTERM or Ctrl-C on any rank, when everything is saved.
    """
    device = choose_device(settings.device)
    choose_trainable(artifact.model, [course.component for course in courses], settings)
    split = settings.parallel.shard * settings.parallel.tensor > 1
    # A model that is split keeps a plain twin, which takes the weights for an evaluation and at the end.
    model = copy.deepcopy(artifact.model) if split else artifact.model
    model.to(device)
    engine = Engine(model, courses, settings, device, world)
    work = _Work(run, engine, artifact, evaluate, world)
    engine.warn = lambda said: work.tell("run_warned", warning=said)
    work.take_up()
    work.tell("run_started", settings={**run.settings, "steps": engine.num_steps, "step": engine.step})
    reason = "failed"
    try:
        work.loop()
        reason = "finished"
    except Stopped:
        reason = "interrupted"
        raise
    finally:
        engine.close()
        work.tell("run_ended", reason=reason)
    engine.settle()
    work.take_weights()
    artifact.model.to("cpu").eval()
    if settings.lora is not None:
        learned = adapter_files.learned(artifact.model, settings.lora)
        lora.merge(artifact.model)
        if world.leads:
            with work.writing():
                adapter_files.write(run.folder / "adapter", learned, layout(artifact) if layout is not None else None)
    artifact.model.requires_grad_(True)
    return artifact


@dataclass
class _Work:
    """A run while it is trained."""

    run: Run
    engine: Engine
    artifact: Artifact
    """Has the engine's model; where that is split over ranks, a plain one that takes its weights when they are wanted."""
    evaluate: Evaluate | None
    world: World

    def tell(self, event: str, **given: Any) -> None:
        """Let listeners know; the first rank speaks for all."""
        if self.world.leads:
            plugins.notify(event, run=self.run.folder, **given)

    def take_up(self) -> None:
        """Go on from the newest checkpoint that is whole."""
        folder = self.run.folder / "checkpoints"
        if self.world.leads:
            durable.remove_unfinished(folder)
        checkpoint.require_shared(folder, self.world)
        found, problems = checkpoint.newest(folder, self.world)
        if found is None:
            why = f" ({problems[0]})" if problems else ""
            raise ValueError(
                f"{self.run.folder} has no checkpoint that is whole{why}; start the run again in another folder"
            )
        for problem in problems:
            self.tell("run_warned", warning=f"{problem}; an earlier one is taken")
        self.engine.restore(found.step, found.tensors, found.scalars)
        if self.world.leads:
            with self.writing():
                self.run.log.cut(self.engine.step)

    def loop(self) -> None:
        """Step by step to the end."""
        engine, every = self.engine, self.engine.settings.save_every
        with StopSignals() as stop:
            while not engine.finished:
                line = engine.advance()
                if line is not None:
                    self.log(line)
                if self.evaluate is not None and self._evaluates():
                    self._evaluate(self.evaluate)
                (received,) = self.world.most([stop.received or 0])
                due = every is not None and engine.step % every == 0
                if due or engine.finished or received:
                    self.save()
                if received:
                    raise Stopped(
                        received, f"stopped at step {engine.step}; go on with: anyformer resume {self.run.folder}"
                    )

    def _evaluates(self) -> bool:
        """Whether the weights are scored after this step; the last are scored by whoever asked for the run, or compared
        here.
        """
        engine, every = self.engine, self.engine.settings.evaluate_every
        if engine.step == engine.num_steps:
            return engine.best is not None
        return every is not None and engine.step % every == 0

    def _evaluate(self, evaluate: Evaluate) -> None:
        engine = self.engine
        with engine.evaluated():
            self.take_weights()
            scores = self.world.tell(dict(evaluate(self.artifact)) if self.world.leads else {})
            if engine.best is not None:
                engine.best.judge(engine.model, engine.step, scores)
        self.log({"step": engine.step, **{f"valid/{name}": value for name, value in scores.items()}})
        if engine.best is not None and engine.best.exhausted and engine.step < engine.num_steps:
            self.tell("run_warned", warning=f"stopped early at step {engine.step}: {engine.best.said}")

    def take_weights(self) -> None:
        """Give the artifact the engine's weights, where it has a model of its own."""
        if self.artifact.model is not self.engine.model:
            artifacts.load_tensors(self.artifact.model, gathered(self.engine.model), "the model")

    def log(self, line: dict[str, Any]) -> None:
        """Write a line, and let listeners know."""
        if self.world.leads:
            with self.writing():
                self.run.log.write(line)
        self.tell("step_ended", line=line)

    def save(self) -> None:
        """Write a checkpoint, unless the weights are worthless: then the earlier ones are all that can be used."""
        engine, folder = self.engine, self.run.folder
        if (name := engine.not_finite()) is not None:
            kind = "state" if name.startswith(("optimizer/", "average/", "best/")) else "weight"
            raise ValueError(
                f"the {kind} {name!r} is no longer finite at step {engine.step}, which is not saved; the earlier "
                f"checkpoints of {folder} are whole; start again with a lower training.optimizer.lr"
            )
        with self.writing():
            if self.world.leads:
                self.run.log.sync()
            path = checkpoint.save(
                folder / "checkpoints",
                engine.step,
                engine.tensors(),
                engine.scalars(),
                engine.settings.keep,
                self.world,
            )
        self.tell("checkpoint_saved", checkpoint=path)

    def writing(self) -> AbstractContextManager[None]:
        """A refusal of the operating system in one line that says how to go on."""
        return writing(f"step {self.engine.step}", self.run.folder)
