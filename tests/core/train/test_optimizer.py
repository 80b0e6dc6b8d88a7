"""The optimizer's decay groups and state, and the learning rate of a step."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from anyformer.artifact import Artifact
from anyformer.nn import build, config
from anyformer.train.optimizer import (
    clip,
    learning_rate_factor,
    load_state_tensors,
    optimizer_for,
    set_learning_rate,
    state_tensors,
)
from anyformer.train.settings import (
    SGD,
    AdamW,
    Constant,
    Cosine,
    InverseSquareRoot,
    Linear,
    Optimizer,
    Schedule,
    WarmupStableDecay,
)


def trunk() -> nn.Module:
    torch.manual_seed(0)
    stack = config.Stack(width=8, depth=2, attention=config.Attention(heads=2), norm=config.Norm(kind="layer"))
    return build.trunk(config.Trunk(encoder=stack))


def test_biases_and_norms_do_not_decay() -> None:
    model = trunk()
    names = {parameter: name for name, parameter in model.named_parameters()}
    decayed, kept = optimizer_for(model, AdamW(weight_decay=0.3)).param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.3, 0.0)
    assert {names[p].rpartition(".")[2] for p in decayed["params"]} == {"weight"}
    assert not [names[p] for p in decayed["params"] if "norm" in names[p]]
    assert {names[p] for p in kept["params"]} == {n for n in names.values() if n.endswith("bias") or "norm" in n}
    assert len(decayed["params"]) + len(kept["params"]) == len(names)


def test_decay_shrinks_matrices_alone() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = optimizer_for(model, AdamW(lr=0.1, weight_decay=0.5))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        factor = 1 - 0.1 * 0.5 if name == "0.weight" else 1.0
        torch.testing.assert_close(parameter, before[name] * factor)


@pytest.mark.parametrize("max_norm", [None, 0.5, 1e6])
@pytest.mark.parametrize(
    ("settings", "plain"),
    [
        (
            AdamW(lr=0.01, weight_decay=0.0),
            partial(torch.optim.AdamW, lr=0.01, betas=(0.9, 0.98), weight_decay=0.0),
        ),
        (SGD(lr=0.01), partial(torch.optim.SGD, lr=0.01, momentum=0.9)),
    ],
    ids=["adamw", "sgd"],
)
def test_updates_are_those_of_torch_with_clipped_gradients(
    settings: Optimizer, plain: Callable[[Any], torch.optim.Optimizer], max_norm: float | None
) -> None:
    """Also where a weight has no gradient yet, and beside an update that is left out."""
    model, other = trunk().double(), trunk().double()
    own, right = optimizer_for(model, settings), plain(other.parameters())
    generator = torch.Generator().manual_seed(0)
    for step in range(5):
        for index, (weight, copy) in enumerate(zip(model.parameters(), other.parameters(), strict=True)):
            gradient = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            weight.grad, copy.grad = (None, None) if step < 2 and index == 3 else (gradient, gradient.clone())
        grads = [weight.grad for weight in model.parameters() if weight.grad is not None]
        own.found_inf = torch.tensor(float(step == 1))  # type: ignore[attr-defined]
        clip(own, torch.nn.utils.get_total_norm(grads), max_norm)
        own.step()
        if step != 1:
            if max_norm is not None:
                torch.nn.utils.clip_grad_norm_(other.parameters(), max_norm)
            right.step()
    for weight, copy in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(weight, copy, rtol=0, atol=1e-7)  # the factor of the kernels is in fp32


def test_frozen_weights_are_left_out() -> None:
    model = trunk()
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.ndim == 1)
    (group,) = optimizer_for(model, AdamW()).param_groups
    assert group["weight_decay"] == 0.0


SCHEDULES: list[Schedule] = [
    Cosine(warmup=4, final=0.2),
    Linear(warmup=4, final=0.2),
    WarmupStableDecay(warmup=4, final=0.2),
    InverseSquareRoot(warmup=4),
    Constant(warmup=4),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
def test_warm_up_rises_in_equal_steps_to_the_peak(schedule: Schedule) -> None:
    factors = [learning_rate_factor(schedule, step, 104) for step in range(4)]
    assert factors == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert 0.85 < learning_rate_factor(schedule, 4, 104) <= 1.0


def test_inverse_square_root() -> None:
    schedule = InverseSquareRoot(warmup=100)
    assert learning_rate_factor(schedule, 399, 10**6) == pytest.approx(0.5)
    assert learning_rate_factor(schedule, 9999, 10) == pytest.approx(0.1), "it does not depend on the length of the run"
    assert learning_rate_factor(InverseSquareRoot(warmup=0), 3, 10) == pytest.approx(0.5)


@pytest.mark.parametrize(("decay", "half_way"), [("linear", 0.5), ("cosine", 0.5), ("square_root", 1 - math.sqrt(0.5))])
def test_a_plateau_and_a_short_decay(decay: Any, half_way: float) -> None:
    schedule = WarmupStableDecay(warmup=10, stable=0.8, decay=decay, final=0.1)
    factors = [learning_rate_factor(schedule, step, 110) for step in range(10, 111)]
    assert factors[:81] == [1.0] * 81
    assert factors[90] == pytest.approx(0.1 + 0.9 * half_way)
    assert factors[100] == pytest.approx(0.1)
    assert factors[80:] == sorted(factors[80:], reverse=True)
    assert learning_rate_factor(WarmupStableDecay(warmup=0, stable=1.0), 9, 10) == 1.0


def test_schedules_fall_from_the_peak_to_their_end() -> None:
    cosine, linear = Cosine(warmup=4, final=0.2), Linear(warmup=4, final=0.2)
    assert learning_rate_factor(cosine, 54, 104) == pytest.approx(0.6)
    assert learning_rate_factor(cosine, 29, 104) == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2)
    assert learning_rate_factor(linear, 29, 104) == pytest.approx(0.8)
    assert learning_rate_factor(Constant(), 103, 104) == 1.0
    for schedule in (cosine, linear):
        factors = [learning_rate_factor(schedule, step, 104) for step in range(4, 105)]
        assert factors == sorted(factors, reverse=True)
        assert factors[-1] == pytest.approx(0.2)


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_a_warm_up_longer_than_the_run(steps: int) -> None:
    factors = [learning_rate_factor(Cosine(warmup=4), step, steps) for step in range(steps)]
    assert factors == [0.25, 0.5, 0.75, 1.0][:steps]


@pytest.mark.parametrize("settings", [AdamW(), SGD(), SGD(momentum=0.0, weight_decay=0.1)])
def test_state_goes_on_in_another_process(settings: Optimizer) -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
        generator = torch.Generator().manual_seed(number)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()

    model = trunk()
    optimizer = optimizer_for(model, settings)
    for number in range(3):
        step(model, optimizer, number)
    saved = {name: tensor.clone() for name, tensor in state_tensors(optimizer, model).items()}
    other = trunk()
    other.load_state_dict(model.state_dict())
    resumed = optimizer_for(other, settings)
    load_state_tensors(resumed, other, saved)
    for number in range(3, 6):
        step(model, optimizer, number)
        step(other, resumed, number)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    final, again = state_tensors(optimizer, model), state_tensors(resumed, other)
    assert final.keys() == again.keys()
    assert all(torch.equal(final[name], again[name]) for name in final)
    kinds = {"adamw": {"step", "exp_avg", "exp_avg_sq"}, "sgd": {"momentum_buffer"} if settings == SGD() else set()}
    assert {name.rpartition("/")[2] for name in final} == kinds[settings.name]
    assert not [name for name in saved if torch.equal(saved[name], final[name])], "the saved state moved with the run"


# -- layer-wise decay


def test_rates_fall_from_the_head_to_the_embedding(
    letters: ModuleType, new_letters_model: Callable[..., Artifact]
) -> None:
    """Encoder of two blocks, decoder of two: six heights."""
    model = new_letters_model("reverse", "trunk.encoder.depth=2", "trunk.decoder.depth=2").model
    optimizer = optimizer_for(model, AdamW(), layer_decay=0.5)
    set_learning_rate(optimizer, 32.0)
    rates = {id(weight): group["lr"] for group in optimizer.param_groups for weight in group["params"]}
    named = {name: rates[id(weight)] for name, weight in model.named_parameters()}
    assert len(named) == len(list(model.parameters())) == len(rates)
    expected = {
        "components.letters/reverse.embedding.": 1.0, "trunk.encoder.blocks.0.": 2.0, "trunk.encoder.blocks.1.": 4.0,
        "trunk.encoder.final_norm.": 8.0, "trunk.decoder.blocks.0.": 8.0, "trunk.decoder.blocks.1.": 16.0,
        "trunk.decoder.final_norm.": 32.0, "components.letters/reverse.head.": 32.0,
    }  # fmt: skip
    for name, rate in named.items():
        (start,) = [start for start in expected if name.startswith(start)]
        assert rate == expected[start], name
    decays = {group["weight_decay"] for group in optimizer.param_groups if group["share"] == 0.5}
    assert decays == {AdamW().weight_decay, 0.0}


@pytest.mark.parametrize("settings", [AdamW(lr=0.1, weight_decay=0.5), SGD(lr=0.1, weight_decay=0.5)])
def test_a_first_update_that_is_left_out_leaves_nothing_behind(settings: Optimizer) -> None:
    """Not even where memory is full of old numbers; and a weight may have its first gradient later than others."""
    torch.manual_seed(0)
    weights = {}
    for spoilt in (False, True):
        model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(1.0)
        optimizer = optimizer_for(model, settings)
        if spoilt:
            old = [torch.full((8, 8), math.nan) for _ in range(64)]
            del old
            for parameter in model.parameters():
                parameter.grad = torch.full_like(parameter, math.nan)
            optimizer.found_inf = torch.tensor(1.0)  # type: ignore[attr-defined]
            optimizer.step()
            optimizer.zero_grad()
            assert all(bool((parameter == 1).all()) for parameter in model.parameters())
        optimizer.found_inf = torch.tensor(0.0)  # type: ignore[attr-defined]
        for learned in (model[0], model):
            for parameter in learned.parameters():
                parameter.grad = torch.ones_like(parameter)
            optimizer.step()
        weights[spoilt] = [parameter.detach().clone() for parameter in model.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(weights[False], weights[True], strict=True))
