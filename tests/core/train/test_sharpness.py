"""Sharpness-aware minimization: the update written out by hand, and what must not be moved by the look uphill."""

from __future__ import annotations

from collections.abc import Callable

import torch

from anyformer.train.engine import Engine
from anyformer.train.sharpness import uphill

NewEngine = Callable[..., Engine]
PLAIN = ("training.optimizer.name=sgd", "training.optimizer.momentum=0", "training.schedule.name=constant",
         "training.clip=null", "training.optimizer.lr=0.1", "training.records=8")  # fmt: skip


def gradient(engine: Engine) -> dict[str, torch.Tensor]:
    engine.model.zero_grad()
    engine.gradient(engine.draw(engine.step))
    return {name: weight.grad.clone() for name, weight in engine.model.named_parameters() if weight.grad is not None}


def test_two_updates_by_hand(new_engine: NewEngine) -> None:
    """With dropout, and in micro-packs: both gradients are of the same step."""
    engine = new_engine("richest", *PLAIN, "training.sam=0.3", "training.tokens=20")
    other = new_engine("richest", *PLAIN, "training.tokens=20")
    for each in (engine, other):
        each.model.double().train()
    for _ in range(2):
        engine.advance()
        weights = {name: weight.detach().clone() for name, weight in other.model.named_parameters()}
        first = gradient(other)
        norm = torch.cat([grad.flatten() for grad in first.values()]).norm()
        with torch.no_grad():
            for name, weight in other.model.named_parameters():
                weight.add_(0.3 * first.get(name, torch.zeros(())) / norm)
        second = gradient(other)
        assert max(float((second[name] - grad).abs().max()) for name, grad in first.items()) > 1e-3
        with torch.no_grad():
            for name, weight in other.model.named_parameters():
                weight.copy_(weights[name] - 0.1 * second.get(name, torch.zeros(())))
        other.step += 1
    for (name, weight), right in zip(engine.model.named_parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(weight, right, rtol=0, atol=1e-9, msg=name)


def test_statistics_and_the_loss_are_those_of_the_weights_themselves(new_engine: NewEngine) -> None:
    settings = ("trunk.encoder.norm.kind=batch", "training.log_every=1")
    sharp, plain = new_engine("richest", *settings, "training.sam=0.3"), new_engine("richest", *settings)
    lines = [each.advance() or {} for each in (sharp, plain)]
    assert lines[0]["train/loss"] == lines[1]["train/loss"]
    buffers = list(zip(sharp.model.buffers(), plain.model.buffers(), strict=True))
    assert len(buffers) > 2
    assert all(torch.equal(one, other) for one, other in buffers)


def test_weights_come_back_whatever_happens(new_engine: NewEngine) -> None:
    engine = new_engine()
    before = [weight.detach().clone() for weight in engine.model.parameters()]
    gradient(engine)
    try:
        with uphill(engine.model, 0.5, torch.tensor(1.0)):
            assert not all(torch.equal(*pair) for pair in zip(before, engine.model.parameters(), strict=True))
            assert all(weight.grad is None for weight in engine.model.parameters())
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert all(torch.equal(*pair) for pair in zip(before, engine.model.parameters(), strict=True))
