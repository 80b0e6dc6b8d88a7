"""Scaled losses and activations computed twice: the same gradients, and state that outlives a stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from anyformer.train import engine as engines
from anyformer.train.device import LossScaler
from anyformer.train.engine import Engine

NewEngine = Callable[..., Engine]


def gradients(engine: Engine) -> dict[str, torch.Tensor]:
    engine.model.train()
    engine.gradient(engine.draw(0))
    return {name: p.grad.clone() for name, p in engine.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("task", ["richest", "reverse"])
def test_activations_computed_again_give_the_same_gradients(
    new_engine: NewEngine, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    """With dropout in blocks and in attention; and each block is indeed computed twice."""
    stacks = ("encoder",) if task == "richest" else ("encoder", "decoder")
    asked = [f"trunk.{stack}.{name}=0.3" for stack in stacks for name in ("dropout", "attention.dropout")]
    plain = gradients(new_engine(task, *asked))
    engine = new_engine(task, *asked, "training.checkpoint_activations=true")
    calls = []
    block: Any = engine.model.trunk.encoder.blocks[0]  # type: ignore[union-attr]
    block.feed_forward.register_forward_hook(lambda *given: calls.append(1))
    again = gradients(engine)
    assert len(calls) == 2
    assert plain.keys() == again.keys()
    assert all(torch.equal(plain[name], again[name]) for name in plain)


def test_settled_the_blocks_are_plain_again(new_engine: NewEngine) -> None:
    engine = new_engine("richest", "training.checkpoint_activations=true")
    engine.advance()
    engine.settle()
    assert not [module for module in engine.model.modules() if "forward" in vars(module)]


@pytest.fixture
def fp16_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine does on the CPU what it does on a GPU; only the refusal is taken off."""
    monkeypatch.setattr(engines, "check_precision", lambda device, precision: None)


@pytest.mark.usefixtures("fp16_anywhere", "unchecked")
def test_a_scaled_loss_gives_the_gradient_of_the_loss(new_engine: NewEngine) -> None:
    still = ("trunk.encoder.dropout=0", "config.left_out=0")
    plain, scaled = new_engine("richest", *still), new_engine("richest", *still, "training.precision=fp16")
    assert float(scaled.scaler.factor) == 2.0**16
    scaled.scaler.factor.fill_(256.0)  # a loss of few labels overflows the default at once
    for engine in (plain, scaled):
        engine.model.eval()
        engine.gradient(engine.draw(0))
        engine.scaler.unscale(engine.model.parameters())
    for (name, ours), theirs in zip(scaled.model.named_parameters(), plain.model.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        scale = max(float(theirs.grad.abs().max()), 1e-4)
        assert float((ours.grad - theirs.grad).abs().max()) / scale < 0.05, name


@pytest.mark.usefixtures("fp16_anywhere", "unchecked")
def test_an_overflow_halves_the_scale_and_is_skipped_and_the_scale_outlives_a_stop(new_engine: NewEngine) -> None:
    asked = ("richest", "training.precision=fp16", "training.log_every=1")
    engine = new_engine(*asked)
    engine.scaler.factor.fill_(256.0)
    engine.advance()
    run = engine.run
    poison: Any = lambda *given: {term: total * math.inf for term, total in run(*given).items()}  # noqa: E731
    engine.run = poison
    engine.advance()
    engine.run = run
    assert (float(engine.scaler.factor), engine.progress.skipped) == (128.0, 1)
    engine.advance()
    resumed = new_engine(*asked)
    resumed.restore(engine.step, engine.tensors(), engine.scalars())
    assert resumed.scaler.scalars() == engine.scaler.scalars() == {"scale": 128.0, "num_good": 1}
    engine.advance()
    resumed.advance()
    assert all(torch.equal(a, b) for a, b in zip(engine.tensors().values(), resumed.tensors().values(), strict=True))


def test_a_scale_grows_after_a_while_without_overflow() -> None:
    scaler = LossScaler(torch.device("cpu"), enabled=True, scale=8.0, patience=3)
    found = []
    for finite in (True, True, False, True, True, True, True):
        scaler.update(torch.tensor(finite))
        found.append(float(scaler.factor))
    assert found == [8, 8, 4, 4, 4, 8, 8]


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_compiled_too_activations_are_computed_again(new_engine: NewEngine) -> None:
    still = ("trunk.encoder.dropout=0", "trunk.decoder.dropout=0")  # compiled code draws other dropout
    plain = gradients(new_engine("reverse", *still))
    again = gradients(new_engine("reverse", *still, "training.checkpoint_activations=true", "training.compile=true"))
    assert again.keys() == plain.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient, rtol=1e-3, atol=1e-5)
