"""The gradient of a step: its micro-packs, what their sums are divided by, and a backward pass for each.

* A head returns sums of loss by term, and each term's denominator from the targets alone. The denominators of all
  micro-packs and all ranks are added before the first backward pass, so any cut of a step, and any number of ranks, give
  the gradient of the whole step.
* A micro-pack is of one course. Where weights are split over ranks (FSDP2), all ranks run the same number of them for each
  course; a rank that has fewer runs its last one again, and counts it as nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anyformer.data import at_hand
from anyformer.data.packs import collate, cut, lay
from anyformer.data.steps import Draw, model_seed, record_rng
from anyformer.task import Sample
from anyformer.train.drawing import Drawn, Source

if TYPE_CHECKING:
    from anyformer.train.engine import Engine


@dataclass(frozen=True)
class Loss:
    """The loss of a step, of each of C courses, over all ranks."""

    means_C: Tensor
    """Mean loss, float64; 0 for a course that had nothing to learn from."""
    taught_C: Tensor
    """Whether it had something, 1 or 0."""


def denominators(engine: Engine, drawn: Sequence[Drawn]) -> list[dict[str, Tensor]]:
    """What the sums of each course are divided by, by term: over all its samples and all ranks.

    Targets are weighed on the CPU, so that the device need not hold those of a whole step.
    """
    found: list[dict[str, Tensor]] = []
    for source, each in zip(engine.sources, drawn, strict=True):
        totals: dict[str, Tensor] = {}
        for group in cut(each.samples, engine.budget):
            targets = lay([sample.targets for sample in group], packs=engine.host_packs)
            for term, weight in engine.model[source.component].head.weigh(targets).items():
                totals[term] = totals[term] + weight if term in totals else weight
        found.append({term: total.to(engine.device, non_blocking=True) for term, total in totals.items()})
    return found if engine.world.size == 1 else _over_ranks(engine, found)


def add_gradient(engine: Engine, drawn: Sequence[Drawn], totals: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """Add this rank's part of the gradient of a step to the parameters; returns its part of each course's mean loss.

    Micro-packs are on the device one at a time. Where weights are not split over ranks, no other rank is waited for: so one
    whose memory runs out here keeps nobody waiting.
    """
    groups = [list(cut(each.samples, engine.budget)) for each in drawn]
    counts = engine.world.most([len(own) for own in groups]) if engine.sharded else [len(own) for own in groups]
    means_C = torch.zeros(len(groups), device=engine.device, dtype=torch.float64)
    rank = engine.world.data[0]
    micro_step = 0
    for course, (source, own, count) in enumerate(zip(engine.sources, groups, counts, strict=True)):
        for place in range(count):
            group = own[place] if place < len(own) else _spare(source, own)
            parts, targets = collate(group, engine.device, engine.packs)
            _seed(engine.device, model_seed(engine.settings.seed, engine.step, micro_step, rank))
            loss = engine.loss(source, parts, targets, totals[course])
            if place >= len(own):
                loss = loss * 0
            engine.scaler.scale(loss if source.share == 1 else loss * source.share).backward()
            means_C[course] += loss.detach()
            micro_step += 1
    return means_C


def over_ranks(engine: Engine, means_C: Tensor, totals: Sequence[Mapping[str, Tensor]]) -> Loss:
    """The loss of a step, from what each rank has of it."""
    taught = [torch.stack(list(of.values())).amax() > 0 if of else means_C.new_zeros(()) for of in totals]
    return Loss(engine.world.add(means_C), torch.stack([one.to(means_C) for one in taught]))


def _seed(device: torch.device, seed: int) -> None:
    """As `torch.manual_seed`, for the host and one device: that one formats the stack, for devices that are not there."""
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


def mean_loss(sums: Mapping[str, Tensor], totals: Mapping[str, Tensor]) -> Tensor:
    """Sums by term, each divided by its denominator, added up, a scalar."""
    terms = [value / totals[term].clamp(min=1).to(value.dtype) for term, value in sums.items()]
    return torch.stack(terms).sum()


def _over_ranks(engine: Engine, own: Sequence[Mapping[str, Tensor]]) -> list[dict[str, Tensor]]:
    """Their sums over the ranks that see different records."""
    if not all(source.terms for source in engine.sources):  # a rank without samples does not know them
        by_rank = engine.world.collect([list(of) for of in own])
        for course, source in enumerate(engine.sources):
            source.terms = source.terms or max((known[course] for known in by_rank), key=len)
    zero = torch.zeros((), device=engine.device, dtype=torch.float64)
    pairs = list(zip(engine.sources, own, strict=True))
    flat = [of.get(term, zero).double() for source, of in pairs for term in source.terms]
    sums = iter(engine.world.add(torch.stack(flat)) if flat else ())
    return [{term: next(sums) for term in source.terms} for source in engine.sources]


def _spare(source: Source, own: Sequence[list[Sample]]) -> list[Sample]:
    """A micro-pack to go through the motions with."""
    if own:
        return own[-1]
    records = at_hand(source.records)
    found = (source.learn(records[index], record_rng(0, Draw(0, index))) for index in range(len(records)))
    return next(samples for samples in found if samples)[:1]
