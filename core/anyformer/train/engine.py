"""The training loop: one for pretraining and fine-tuning, for every domain.

* A step learns from a fixed number of records of each course (see `courses`); its gradient does not depend on how it is cut
  into micro-packs, nor on how many ranks share it (see `gradient`).
* Everything random is a function of (seed, step): the run can stop after any step and go on as if it had not.
* An update with a non-finite gradient never reaches the weights, and no step waits for the device to find out: the
  optimizer is told on the device, and what came of steps is looked at when a line of the log is due (on the CPU, at once).
* Adapters, averaged weights and the choice by score are pages of their own; the engine holds, saves and restores them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from anyformer import memory
from anyformer.artifact import unique_tensors
from anyformer.data.packs import packs_on
from anyformer.nn import Model, Parts, products
from anyformer.task import Sample
from anyformer.train import activations, drawing, faults, gradient, sharpness
from anyformer.train import optimizer as optimizers
from anyformer.train.average import Average
from anyformer.train.counts import Outcome, Progress
from anyformer.train.courses import Course
from anyformer.train.device import LossScaler, autocast, check_precision
from anyformer.train.drawing import Drawn, Source
from anyformer.train.feeding import Feed
from anyformer.train.parallel.gradients import sum_gradients, total_norm
from anyformer.train.parallel.placing import place
from anyformer.train.parallel.world import ALONE, World
from anyformer.train.pieces import Stored, fill_all
from anyformer.train.selection import Best, all_directions
from anyformer.train.settings import Training
from anyformer.train.trainable import choose_trainable

__all__ = ["Engine", "Progress"]


@dataclass
class Engine:
    """A model being trained."""

    model: Model
    courses: Sequence[Course]
    settings: Training
    device: torch.device
    world: World = ALONE
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
        self.sources = drawing.sources(self.model, self.courses, settings.seed, settings.records)
        self.num_steps = settings.steps or settings.num_steps(sum(len(course.records) for course in self.courses))
        components = [course.component for course in self.courses]
        choose_trainable(self.model, components, settings)
        if settings.checkpoint_activations:
            activations.checkpoint_blocks(self.model.trunk)
        place(self.model, settings.parallel, self.world)
        self.sharded = settings.parallel.shard > 1
        products.speed_up(self.model)
        self.weights = list(self.model.parameters())
        self.packs = self.host_packs = packs_on(self.device)
        if self.device.type != "cpu":
            self.host_packs = packs_on("cpu")
        self.trimmer = memory.Trimmer()
        if self.device.type == "cpu":
            memory.keep_pages()
        self.optimizer = optimizers.optimizer_for(self.model, settings.optimizer, settings.layer_decay)
        self.scaler = LossScaler(self.device, settings.precision == "fp16")
        self.average = None if settings.ema is None else Average(self.model, settings.ema)
        known = all_directions(self.model, components)
        self.best = None if settings.selection is None else Best(settings.selection, known)
        self.buffers = faults.Buffers(self.model)
        self.run = torch.compile(self.model, dynamic=True) if settings.compile else self.model
        self.seconds = 0.0
        self._feed: Feed[list[Drawn]] | None = None
        self._unseen: list[tuple[int, Tensor]] = []

    # -- a step

    def samples(self, step: int) -> list[Sample]:
        """The samples of one step on this rank: a function of the seed and the step."""
        return [sample for drawn in self.draw(step) for sample in drawn.samples]

    def draw(self, step: int) -> list[Drawn]:
        """What each course gives to a step on this rank. A record that cannot be used gives no sample."""
        return drawing.draw(self.sources, *self.world.data, step)

    def advance(self) -> dict[str, Any] | None:
        """One update. Returns the line for the log after every `log_every` updates, and after the last.

        Raises `ValueError` when too many updates in a row were skipped, more records than allowed cannot be used, or memory
        does not suffice for one sample.
        """
        started = time.perf_counter()
        if not self.model.training:  # it walks all modules, and only an evaluation changes it
            self.model.train()
        drawn = self._next()
        self._admit(drawn)
        factor = optimizers.learning_rate_factor(self.settings.schedule, self.step, self.num_steps)
        rate = self.settings.optimizer.lr * factor
        optimizers.set_learning_rate(self.optimizer, rate)
        self.buffers.keep()
        loss, norm = self._whole_gradient(drawn)
        if self.settings.sam is not None:
            with sharpness.uphill(self.model, self.settings.sam, norm):
                _, norm = self._whole_gradient(drawn)
        with faults.in_memory("the state of the optimizer"):
            self._update(drawn, loss, norm)
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.seconds += time.perf_counter() - started
        due = not self.step % self.settings.log_every or self.step >= self.num_steps
        outcome = self._look() if due or self.device.type == "cpu" else None
        if not due:
            return None
        assert outcome is not None
        self.trimmer()
        components, shares = zip(*((source.component, source.share) for source in self.sources), strict=True)
        return self.progress.line(outcome, components, shares, rate, self.seconds)

    def _next(self) -> list[Drawn]:
        """What this step learns from, prepared ahead where the settings ask for workers."""
        if self._feed is None:
            draw = partial(drawing.draw, self.sources, *self.world.data)
            self._feed = Feed(draw, self.step, self.num_steps, self.settings.workers)
        return next(self._feed)

    def _admit(self, drawn: Sequence[Drawn]) -> None:
        """Count the records that cannot be used, and hash the samples where that is asked for: the same on all ranks."""
        progress, world = self.progress, self.world
        if world.most([any(each.bad for each in drawn)])[0]:
            pairs = zip(self.sources, drawn, strict=True)
            own = [(source.component, index, said) for source, each in pairs for index, said in each.bad.items()]
            found = [one for rank in world.collect(own) for one in rank]
            progress.bad_records = drawing.admit(found, progress.bad_records, self.settings.bad_records, self.warn)
        if self.settings.log_samples:
            digests = [one for rank in world.collect(drawing.digests(drawn)) for one in rank]
            progress.samples = drawing.chain(set(digests), progress.samples)

    def _whole_gradient(self, drawn: Sequence[Drawn]) -> tuple[gradient.Loss, Tensor]:
        """Put the gradient of a step, over all ranks, into the parameters; returns its loss and its norm."""
        loss = faults.gradient_that_fits(self, drawn)
        sum_gradients(self.weights, self.world)
        self.scaler.unscale(self.weights)
        return loss, total_norm(self.weights, self.world).to(self.device)

    def _update(self, drawn: Sequence[Drawn], loss: gradient.Loss, norm: Tensor) -> None:
        """Move the weights, unless a loss or the gradient is not finite or there was nothing to learn from."""
        tokens = torch.tensor([sum(sample.cost for each in drawn for sample in each.samples)], dtype=torch.float64)
        tokens = self.world.add(tokens.to(self.device, non_blocking=True))
        finite = torch.isfinite(norm)
        moves = finite & torch.isfinite(loss.means_C).all() & (tokens[0] > 0)
        stays = ~moves
        self.optimizer.found_inf = stays.float()  # type: ignore[attr-defined]  # read by the fused kernels
        optimizers.clip(self.optimizer, norm, self.settings.clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.step, moves)
        self.buffers.put_back(stays)
        self.buffers.share(self.world)
        self.scaler.update(finite)
        self._unseen.append((self.step, torch.cat([loss.means_C, loss.taught_C, tokens, norm.double().reshape(1)])))

    def _look(self) -> Outcome | None:
        """Take in what came of the steps since the last look; the last of them is returned."""
        outcome = None
        if self._unseen:
            steps, found = zip(*self._unseen, strict=True)
            self._unseen = []
            num = len(self.sources)
            for step, (*values, tokens, norm) in zip(steps, torch.stack(found).tolist(), strict=True):
                outcome = Outcome(step, values[:num], [bool(one) for one in values[num:]], int(tokens), norm)
                self.progress.count(outcome, self.settings.records)
                if outcome.skipped:
                    faults.skip(self, outcome)
        return outcome

    @property
    def budget(self) -> int:
        """Tokens in a micro-pack: as asked for, or fewer since a step did not fit in memory."""
        return self.settings.tokens if self.tokens is None else self.tokens

    def gradient(self, drawn: Sequence[Drawn]) -> gradient.Loss:
        """Add the gradient of a step to the parameters; returns its loss."""
        totals = gradient.denominators(self, drawn)
        return gradient.over_ranks(self, gradient.add_gradient(self, drawn, totals), totals)

    def loss(self, source: Source, parts: Parts, targets: Parts, totals: Mapping[str, Tensor]) -> Tensor:
        """What a micro-pack adds to the loss of a step whose terms have the denominators `totals`, a scalar."""
        with autocast(self.device, self.settings.precision):
            sums = self.run(parts, targets, source.component)
        return gradient.mean_loss(sums, totals)

    # -- state

    def not_finite(self) -> str | None:
        """The name of a weight or a state that is infinite or no number: a finite gradient can overflow it."""
        name = faults.not_finite(self.tensors())
        return next((name.removeprefix("model/") for name in self.world.collect(name) if name is not None), None)

    def tensors(self) -> dict[str, Tensor]:
        """Everything a checkpoint must hold, by name; a shared weight once."""
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
        self._look()
        found: dict[str, Any] = {"progress": vars(self.progress).copy(), "seconds": self.seconds}
        if self.scaler.enabled:
            found["scaler"] = self.scaler.scalars()
        if self.best is not None:
            found["best"] = self.best.scalars()
        return found

    def restore(self, step: int, tensors: Mapping[str, Tensor | Stored], scalars: Mapping[str, Any]) -> None:
        """Go back to a checkpoint; one before the first step has weights alone. Raises `ValueError` if it does not fit."""
        groups: dict[str, dict[str, Tensor | Stored]] = {"model": {}, "optimizer": {}, "average": {}, "best": {}}
        for path, tensor in tensors.items():
            group, _, name = path.partition("/")
            groups[group][name] = tensor
        fill_all(unique_tensors(self.model), groups["model"], "the checkpoint")
        optimizers.load_state_tensors(self.optimizer, self.model, groups["optimizer"])
        if self.average is not None:
            self.average.restore(groups["average"])
        if self.best is not None and "best" in scalars:
            self.best.restore(scalars["best"], groups["best"], self.model)
        if self.scaler.enabled and "scaler" in scalars:
            self.scaler.restore(scalars["scaler"])
        self.close()
        self.step, self._unseen = step, []
        self.progress = Progress(**scalars["progress"])
        self.seconds = scalars["seconds"]

    def close(self) -> None:
        """Let the workers go."""
        if self._feed is not None:
            self._feed.close()
            self._feed = None

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
        products.restore(self.model)
