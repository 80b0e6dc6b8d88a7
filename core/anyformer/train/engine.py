"""The training loop: one for pretraining and fine-tuning, for every domain.

* A head returns sums of loss by term, and each term's denominator from the targets. The denominators of all micro-packs
  are added before the first backward, so any cut of a step into micro-packs gives the gradient of the whole step.
* Everything random is a function of (seed, step): the run can stop after any step and go on as if it had not.
* An update with a non-finite gradient is skipped and counted, and never reaches the weights. A step that does not fit in
  memory is done again in smaller micro-packs (see `faults`); a record that cannot be used is counted (see `drawing`).
* Adapters, averaged weights and the choice by score are pages of their own; the engine holds, saves and restores them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from anyformer.data.packs import collate, cut
from anyformer.data.steps import Order, model_seed
from anyformer.nn import Model, Parts
from anyformer.task import Objective, Sample, Task
from anyformer.train import activations, faults, memory
from anyformer.train import optimizer as optimizers
from anyformer.train.average import Average
from anyformer.train.counts import Progress
from anyformer.train.device import autocast, check_precision, choose_device, loss_scaler
from anyformer.train.drawing import Drawn, Learn, admit, digest, draw
from anyformer.train.selection import Best
from anyformer.train.settings import Training
from anyformer.train.trainable import choose_trainable

__all__ = ["Engine", "Progress", "choose_device"]


@dataclass
class Engine:
    """A model being trained on the records of one component."""

    model: Model
    component: str
    records: Sequence[Any]
    settings: Training
    device: torch.device
    step: int = 0
    """Updates done."""
    progress: Progress = field(default_factory=Progress)
    warn: Callable[[str], None] = lambda said: None
    """Takes a line that a person should see."""
    tokens: int | None = None
    """Tokens in a micro-pack, if those asked for did not fit in memory."""

    def __post_init__(self) -> None:
        settings = self.settings
        check_precision(self.device, settings.precision)
        task = self.model[self.component].task
        assert isinstance(task, Task | Objective)
        self.learn: Learn = task.learn
        self.num_steps = settings.num_steps(len(self.records))
        self.order = Order(settings.seed, len(self.records), settings.records)
        choose_trainable(self.model, self.component, settings)
        self.optimizer = optimizers.optimizer_for(self.model, settings.optimizer, settings.layer_decay)
        self.scaler = loss_scaler(self.device, settings.precision)
        self.average = None if settings.ema is None else Average(self.model, settings.ema)
        self.best = None if settings.selection is None else Best(settings.selection, task)
        if settings.checkpoint_activations:
            activations.checkpoint_blocks(self.model.trunk)
        self.buffers = faults.Buffers(self.model)
        self.run = torch.compile(self.model, dynamic=True) if settings.compile else self.model
        self.seconds = 0.0

    def samples(self, step: int) -> list[Sample]:
        """The samples of one step: a function of the seed and the step. A record that cannot be used gives none."""
        return self._draw(step).samples

    def _draw(self, step: int) -> Drawn:
        return draw(self.learn, self.records, self.order.step(step), self.settings.seed)

    def advance(self) -> dict[str, Any] | None:
        """One update. Returns the line for the log after every `log_every` updates, and after the last.

        Raises `ValueError` when too many updates in a row were skipped, more records than allowed cannot be used, or memory
        does not suffice for one sample.
        """
        started = time.perf_counter()
        self.model.train()
        drawn = self._draw(self.step)
        progress = self.progress
        progress.bad_records = admit(drawn, progress.bad_records, self.settings.bad_records, self.warn)
        if self.settings.log_samples:
            progress.samples = digest(drawn.samples, progress.samples)
        factor = optimizers.learning_rate_factor(self.settings.schedule, self.step, self.num_steps)
        rate = self.settings.optimizer.lr * factor
        optimizers.set_learning_rate(self.optimizer, rate)
        self.buffers.keep()
        loss = faults.gradient_that_fits(self, drawn)
        norm = self._clip()
        if drawn.samples:  # else no record of this step had anything to learn
            with faults.in_memory("the state of the optimizer"):
                self._update(drawn, loss, norm)
        self.optimizer.zero_grad(set_to_none=True)
        progress.tokens += sum(sample.cost for sample in drawn.samples)
        progress.records += self.settings.records
        self.step += 1
        self.seconds += time.perf_counter() - started
        if self.step % self.settings.log_every and self.step < self.num_steps:
            return None
        memory.trim()
        return progress.line(self.step, norm.item() if bool(torch.isfinite(norm)) else None, rate, self.seconds)

    def _update(self, drawn: Drawn, loss: Tensor, norm: Tensor) -> None:
        """Move the weights, unless the gradient is not finite."""
        if bool(torch.isfinite(norm) & torch.isfinite(loss)):
            self.optimizer.step()
            if self.average is not None:
                self.average.update(self.step)
            self.progress.take(loss.item())
        else:
            self.buffers.put_back()
            faults.skip(self, drawn, loss)
        self.scaler.update()

    @property
    def budget(self) -> int:
        """Tokens in a micro-pack: as asked for, or fewer since a step did not fit in memory."""
        return self.settings.tokens if self.tokens is None else self.tokens

    def gradient(self, samples: Sequence[Sample]) -> Tensor:
        """Add the gradient of a step's mean loss to the parameters; returns that loss, a scalar."""
        head = self.model[self.component].head
        packs = [collate(group, self.device) for group in cut(samples, self.budget)]
        totals: dict[str, Tensor] = {}
        for _, targets in packs:
            for term, weight in head.weigh(targets).items():
                totals[term] = totals.get(term, torch.zeros_like(weight)) + weight
        mean = torch.zeros((), device=self.device, dtype=torch.float64)
        for micro_step, (parts, targets) in enumerate(packs):
            torch.manual_seed(model_seed(self.settings.seed, self.step, micro_step))
            loss = self.loss(parts, targets, totals)
            self.scaler.scale(loss).backward()
            mean += loss.detach()
        if packs:
            self.scaler.unscale_(self.optimizer)
        return mean

    def loss(self, parts: Parts, targets: Parts, totals: Mapping[str, Tensor]) -> Tensor:
        """What a micro-pack adds to the loss of a step whose terms have the denominators `totals`, a scalar."""
        with autocast(self.device, self.settings.precision):
            sums = self.run(parts, targets, self.component)
        terms = [value / totals[term].clamp(min=1).to(value.dtype) for term, value in sums.items()]
        return torch.stack(terms).sum()

    def _clip(self) -> Tensor:
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        if self.settings.clip is None:
            return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        return torch.nn.utils.clip_grad_norm_(parameters, self.settings.clip)

    # -- state

    def not_finite(self) -> str | None:
        """The name of a weight or a state that is infinite or no number: a finite gradient can overflow it."""
        name = faults.not_finite(self.tensors())
        return name and name.removeprefix("model/")

    def tensors(self) -> dict[str, Tensor]:
        """Everything a checkpoint must hold, by name; a shared weight once."""
        from anyformer.artifact import unique_tensors

        groups = {
            "model": unique_tensors(self.model),
            "optimizer": optimizers.state_tensors(self.optimizer, self.model),
        }
        if self.average is not None:
            groups["average"] = self.average.tensors
        if self.best is not None:
            groups["best"] = self.best.tensors
        return {f"{group}/{name}": tensor for group, found in groups.items() for name, tensor in found.items()}

    def scalars(self) -> dict[str, Any]:
        """What a checkpoint holds beside tensors."""
        found: dict[str, Any] = {"progress": vars(self.progress).copy(), "seconds": self.seconds}
        if self.scaler.is_enabled():
            found["scaler"] = self.scaler.state_dict()
        if self.best is not None:
            found["best"] = self.best.scalars()
        return found

    def restore(self, step: int, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> None:
        """Go back to a checkpoint; one before the first step has weights alone. Raises `ValueError` if it does not fit."""
        from anyformer.artifact import load_tensors

        groups: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "average": {}, "best": {}}
        for path, tensor in tensors.items():
            group, _, name = path.partition("/")
            groups[group][name] = tensor
        load_tensors(self.model, groups["model"], "the checkpoint")
        optimizers.load_state_tensors(self.optimizer, self.model, groups["optimizer"])
        if self.average is not None:
            self.average.restore(groups["average"])
        if self.best is not None and "best" in scalars:
            self.best.restore(scalars["best"], groups["best"])
        if self.scaler.is_enabled() and "scaler" in scalars:
            self.scaler.load_state_dict(scalars["scaler"])
        self.step = step
        self.progress = Progress(**scalars["progress"])
        self.seconds = scalars["seconds"]

    # -- what the run gives

    def evaluated(self) -> AbstractContextManager[None]:
        """Within it, the model has the weights that the run would give: the average of those it learns, if there is one."""
        return nullcontext() if self.average is None else self.average.in_place()

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do: all steps are done, or the scores have stopped getting better."""
        return self.step >= self.num_steps or (self.best is not None and self.best.exhausted)

    def settle(self) -> None:
        """Put the weights that the run gives in their place: the best, or the average, or the last as they are."""
        if self.average is not None:
            self.average.exchange()
        if self.best is not None:
            self.best.put(self.model)
        if self.settings.checkpoint_activations:
            activations.restore_blocks(self.model.trunk)
