"""The training loop: one for pretraining and fine-tuning, for every domain.

* A head returns sums of loss by term, and each term's denominator from the targets. The denominators of all micro-packs
  are added before the first backward, so any cut of a step into micro-packs gives the gradient of the whole step.
* Everything random is a function of (seed, step): the run can stop after any step and go on as if it had not.
* An update with a non-finite gradient is skipped and counted, and never reaches the weights.
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
from anyformer.data.steps import Order, model_seed, record_rng
from anyformer.nn import Model, Parts
from anyformer.task import Objective, Rng, Sample, Task
from anyformer.train import memory
from anyformer.train.optimizer import learning_rate_factor, load_state_tensors, optimizer_for, state_tensors
from anyformer.train.settings import Training

Learn = Callable[[Any, Rng], list[Sample]]


@dataclass
class Progress:
    """What is counted between two lines of the log; saved with a checkpoint, so that lines do not depend on stops."""

    loss: float = 0.0
    steps: int = 0
    tokens: int = 0
    records: int = 0
    skipped: int = 0
    """Updates left out in all, for a non-finite gradient."""
    skipped_in_a_row: int = 0


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

    def __post_init__(self) -> None:
        settings = self.settings
        self.num_steps = settings.num_steps(len(self.records))
        self.order = Order(settings.seed, len(self.records), settings.records)
        self.optimizer = optimizer_for(self.model, settings.optimizer)
        task = self.model[self.component].task
        assert isinstance(task, Task | Objective)
        self.learn: Learn = task.learn
        self.run = torch.compile(self.model, dynamic=True) if settings.compile else self.model
        self.seconds = 0.0

    def samples(self, step: int) -> list[Sample]:
        """The samples of one step: a function of the seed and the step."""
        seed = self.settings.seed
        draws = self.order.step(step)
        return [sample for draw in draws for sample in self.learn(self.records[draw.index], record_rng(seed, draw))]

    def advance(self) -> dict[str, Any] | None:
        """One update. Returns the line for the log after every `log_every` updates, and after the last.

        Raises `ValueError` when too many updates in a row were skipped.
        """
        started = time.perf_counter()
        self.model.train()
        samples = self.samples(self.step)
        factor = learning_rate_factor(self.settings.schedule, self.step, self.num_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.optimizer.lr * factor
        loss = self.gradient(samples)
        norm = self._clip()
        if not bool(torch.isfinite(norm) & torch.isfinite(loss)):
            self._skip()
        elif samples:  # else no record of this step had anything to learn
            self.optimizer.step()
            self.progress.loss += loss.item()
            self.progress.steps += 1
            self.progress.skipped_in_a_row = 0
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.tokens += sum(sample.cost for sample in samples)
        self.progress.records += self.settings.records
        self.step += 1
        self.seconds += time.perf_counter() - started
        if self.step % self.settings.log_every and self.step < self.num_steps:
            return None
        memory.trim()
        return self._line(norm)

    def gradient(self, samples: Sequence[Sample]) -> Tensor:
        """Add the gradient of a step's mean loss to the parameters; returns that loss, a scalar."""
        head = self.model[self.component].head
        packs = [collate(group, self.device) for group in cut(samples, self.settings.tokens)]
        totals: dict[str, Tensor] = {}
        for _, targets in packs:
            for term, weight in head.weigh(targets).items():
                totals[term] = totals.get(term, torch.zeros_like(weight)) + weight
        mean = torch.zeros((), device=self.device, dtype=torch.float64)
        for micro_step, (parts, targets) in enumerate(packs):
            torch.manual_seed(model_seed(self.settings.seed, self.step, micro_step))
            loss = self._loss(parts, targets, totals)
            loss.backward()
            mean += loss.detach()
        return mean

    def _loss(self, parts: Parts, targets: Parts, totals: Mapping[str, Tensor]) -> Tensor:
        with autocast(self.device, self.settings.precision):
            sums = self.run(parts, targets, self.component)
        terms = [value / totals[term].clamp(min=1).to(value.dtype) for term, value in sums.items()]
        return torch.stack(terms).sum()

    def _clip(self) -> Tensor:
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        if self.settings.clip is None:
            return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        return torch.nn.utils.clip_grad_norm_(parameters, self.settings.clip)

    def _skip(self) -> None:
        self.progress.skipped += 1
        self.progress.skipped_in_a_row += 1
        if self.progress.skipped_in_a_row >= self.settings.patience:
            indices = [draw.index for draw in self.order.step(self.step)]
            raise ValueError(
                f"the gradient was not finite in {self.progress.skipped_in_a_row} updates in a row; stopped at step "
                f"{self.step}, records {indices[:8]}; lower training.optimizer.lr, or look at these records"
            )

    def _line(self, norm: Tensor) -> dict[str, Any]:
        progress = self.progress
        line = {
            "step": self.step,
            "train/loss": progress.loss / progress.steps if progress.steps else None,
            "lr": self.optimizer.param_groups[0]["lr"],
            "grad_norm": norm.item() if bool(torch.isfinite(norm)) else None,
            "tokens": progress.tokens,
            "records": progress.records,
            "skipped": progress.skipped,
            "seconds": round(self.seconds, 3),
        }
        progress.loss, progress.steps = 0.0, 0
        return line

    # -- state

    def not_finite(self) -> str | None:
        """The name of a weight that is infinite or no number, if there is one: a finite gradient can overflow it."""
        with torch.no_grad():
            named = self.model.named_parameters()
            return next((name for name, weight in named if not bool(torch.isfinite(weight).all())), None)

    def tensors(self) -> dict[str, Tensor]:
        """Everything a checkpoint must hold, by name; a shared weight once."""
        from anyformer.artifact import unique_tensors

        model = {f"model/{name}": tensor for name, tensor in unique_tensors(self.model).items()}
        return model | {f"optimizer/{name}": t for name, t in state_tensors(self.optimizer, self.model).items()}

    def scalars(self) -> dict[str, Any]:
        """What a checkpoint holds beside tensors."""
        return {"progress": vars(self.progress).copy(), "seconds": self.seconds}

    def restore(self, step: int, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> None:
        """Go back to a checkpoint. Raises `ValueError` if it does not fit the model."""
        from anyformer.artifact import load_tensors

        groups: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}}
        for path, tensor in tensors.items():
            group, _, name = path.partition("/")
            groups[group][name] = tensor
        load_tensors(self.model, groups["model"], "the checkpoint")
        load_state_tensors(self.optimizer, self.model, groups["optimizer"])
        self.step = step
        self.progress = Progress(**scalars["progress"])
        self.seconds = scalars["seconds"]


def choose_device(name: str) -> torch.device:
    """The device called `name`; `auto` is a GPU if there is one. Raises `ValueError` for one that is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"the device {name!r} cannot be used: {str(error).splitlines()[0]}") from None
    return device


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """The arithmetic of forward passes: bf16 where asked for, or where `auto` finds a GPU that has it."""
    half = precision == "bf16" or (precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported())
    return torch.autocast(device.type, torch.bfloat16) if half else nullcontext()
