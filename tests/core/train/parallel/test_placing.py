"""Gradients, norms and weights of a model on several processes, beside those of one process that sees all records."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import torch
from processes import on_ranks
from torch import Tensor

from anyformer.nn import Model
from anyformer.train import activations
from anyformer.train.parallel import world as worlds
from anyformer.train.parallel.gathering import gathered, whole
from anyformer.train.parallel.gradients import sum_gradients, total_norm
from anyformer.train.parallel.placing import place
from anyformer.train.parallel.world import ALONE, World
from anyformer.train.pieces import fill
from anyformer.train.settings import Parallel

sys.path.insert(0, str(Path(__file__).parent))
from small import RECORDS, decoder, learn, new_model

Errors = dict[str, float]
CPU = torch.device("cpu")
ALL = list(range(len(RECORDS)))
MODELS = [("relative", "mixture"), ("rotary", "again"), ("alibi", "frozen")]
MIXTURE = [("first", ALL[:4]), ("second", ALL[4:]), ("second", ALL[:4])]
"""Micro-packs of two components; the last has nothing for the first."""


def off(found: Tensor, true: Tensor) -> float:
    assert found.shape == true.shape
    return float((found - true).abs().max() / true.abs().max().clamp(min=1e-3))


def gradients(model: Model) -> dict[str, Tensor]:
    return {name: whole(weight.grad) for name, weight in model.named_parameters() if weight.grad is not None}


def far(found: dict[str, Tensor], true: dict[str, Tensor]) -> float:
    assert found.keys() == true.keys(), found.keys() ^ true.keys()
    return max(off(found[name], true[name]) for name in true)


def shares(world: World, steps: list[tuple[str, list[int]]]) -> list[tuple[str, list[int]]]:
    rank, ranks = world.data
    return [(component, records[rank::ranks]) for component, records in steps]


def compare(settings: Parallel, name: str, variant: str) -> Errors:
    """One model in one layout: how far its gradients, norm, clipped gradients and weights are from those of one process."""
    world = worlds.join(settings, CPU)
    components = ("first", "second") if variant == "mixture" else ("only",)
    steps = MIXTURE if variant == "mixture" else [("only", ALL[:4]), ("only", ALL[4:])]
    alone, model = new_model(name, components), new_model(name, components)
    if variant == "frozen":
        for each in (alone, model):
            decoder(each).blocks[0].requires_grad_(False)
            each["only"].embedding.requires_grad_(False)
    if variant == "again":
        activations.checkpoint_blocks(model.trunk)
    place(model, settings, world)
    assert far(gathered(model), gathered(alone)) == 0

    learn(alone, steps)
    learn(model, shares(world, steps))
    sum_gradients(model.parameters(), world)
    errors = {"gradients": far(gradients(model), gradients(alone))}
    norm = torch.nn.utils.get_total_norm([weight.grad for weight in alone.parameters() if weight.grad is not None])
    found = total_norm(model.parameters(), world)
    assert type(found) is Tensor
    assert len(set(world.collect(found.item()))) == 1
    errors["norm"] = off(found, norm)

    with torch.no_grad():
        for (own_name, weight), other in zip(model.named_parameters(), alone.parameters(), strict=True):
            other.add_(0.01 * len(own_name))
            fill(weight, other.detach())
    assert far(gathered(model), gathered(alone)) == 0
    for each in (alone, model):
        each.zero_grad(set_to_none=True)
    learn(alone, steps)
    learn(model, shares(world, steps))
    sum_gradients(model.parameters(), world)
    return errors | {"gradients of new weights": far(gradients(model), gradients(alone))}


def compare_all(world: World, asked: list[tuple[Parallel, tuple[str, str]]]) -> dict[str, Errors]:
    return {f"{settings} {name} {variant}": compare(settings, name, variant) for settings, (name, variant) in asked}


def check_all(found: list[dict[str, Errors]]) -> None:
    for errors in found:
        wrong = {which: error for which, error in errors.items() if not max(error.values()) < 1e-10}
        assert not wrong, wrong


def test_two_ranks() -> None:
    layouts = [Parallel(), Parallel(shard=2), Parallel(tensor=2)]
    check_all(on_ranks(compare_all, 2, list(itertools.product(layouts, MODELS))))


def test_four_ranks() -> None:
    """Copies of shards, copies of split layers, shards of split layers."""
    mixture, plain, _ = MODELS
    layouts = [(Parallel(shard=2), plain), (Parallel(tensor=2), plain), (Parallel(shard=2, tensor=2), mixture)]
    check_all(on_ranks(compare_all, 4, layouts))


def test_alone() -> None:
    model = new_model("alibi")
    before = gathered(model)
    place(model, Parallel(), ALONE)
    assert all(torch.equal(before[name], tensor) for name, tensor in gathered(model).items())
    learn(model, [("only", ALL)])
    sum_gradients(model.parameters(), ALONE)
    true = torch.nn.utils.get_total_norm([weight.grad for weight in model.parameters() if weight.grad is not None])
    assert torch.equal(total_norm(model.parameters(), ALONE), true)
