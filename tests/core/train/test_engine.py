"""The training step: any cut into micro-packs gives one gradient, and nothing that is not finite reaches the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

from anyformer.device import choose_device
from anyformer.train.drawing import Drawn
from anyformer.train.engine import Engine

NewEngine = Callable[..., Engine]
STILL = {
    "richest": ("trunk.encoder.dropout=0", "config.left_out=0"),
    "reverse": ("trunk.encoder.dropout=0", "trunk.decoder.dropout=0"),
}


def gradients(engine: Engine, tokens: int) -> dict[str, torch.Tensor]:
    engine.settings = engine.settings.model_copy(update={"tokens": tokens})
    engine.model.zero_grad()
    engine.gradient(engine.draw(0))
    return {name: p.grad.clone() for name, p in engine.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("task", ["richest", "reverse"])
def test_accumulation_is_exact(new_engine: NewEngine, letters: ModuleType, task: str) -> None:
    """One pack of 32 records, packs of some, and 32 packs of one: the same gradient, in float64."""
    engine = new_engine(task, "training.records=32", *STILL[task], rows=letters.words(32, longest=17))
    engine.model.double().eval()  # dropout of the head off
    whole = gradients(engine, 10**6)
    assert len(whole) == len(list(engine.model.parameters()))
    greatest = max(float(gradient.abs().max()) for gradient in whole.values())
    for tokens in (60, 1):
        cut = gradients(engine, tokens)
        for name, gradient in whole.items():
            scale = max(float(gradient.abs().max()), 1e-6 * greatest)  # a key's bias has a gradient of zero and noise
            assert float((cut[name] - gradient).abs().max()) / scale < 1e-10, f"{name} in packs of {tokens}"


def test_the_loss_of_a_step_is_the_mean_over_its_labels(new_engine: NewEngine) -> None:
    engine = new_engine("reverse", "training.tokens=20", *STILL["reverse"])
    engine.model.double().eval()
    samples = engine.samples(0)
    loss = engine.gradient([Drawn(samples)]).means_C.item()
    alone = [engine.gradient([Drawn([sample])]).means_C.item() for sample in samples]
    counts = [len(sample.targets["labels"]) for sample in samples]
    assert len(set(counts)) > 1
    assert loss == pytest.approx(sum(a * n for a, n in zip(alone, counts, strict=True)) / sum(counts), rel=1e-12)


def test_dropout_is_a_function_of_the_step(new_engine: NewEngine) -> None:
    engine = new_engine()
    engine.model.train()
    first = engine.gradient(engine.draw(0)).means_C.item()
    torch.rand(17)
    assert engine.gradient(engine.draw(0)).means_C.item() == first
    engine.step = 1
    assert engine.gradient(engine.draw(0)).means_C.item() != first


def test_lines_do_not_depend_on_stops(new_engine: NewEngine) -> None:
    """A checkpoint between two lines of the log carries what the next line counts."""
    whole, stopped = new_engine(), new_engine()
    lines = [whole.advance() for _ in range(12)]
    for _ in range(5):
        stopped.advance()
    resumed = new_engine()
    resumed.restore(stopped.step, stopped.tensors(), stopped.scalars())
    assert [without_seconds(resumed.advance()) for _ in range(7)] == [without_seconds(line) for line in lines[5:]]
    assert lines[4] is None
    assert lines[5]["step"] == 6
    assert lines[11]["records"] == 12 * 4


def without_seconds(line: dict[str, Any] | None) -> dict[str, Any] | None:
    return line and {key: value for key, value in line.items() if key != "seconds"}


def test_a_checkpoint_of_another_model_is_refused(new_engine: NewEngine) -> None:
    wide, narrow = new_engine("richest", "trunk.encoder.width=32"), new_engine()
    with pytest.raises(ValueError, match=r"the checkpoint: '[^']*' has shape \[.*32.*\]; the model needs \[.*16.*\]"):
        narrow.restore(0, wide.tensors(), wide.scalars())


class Poison:
    """Loss terms that are NaN, or infinite, in chosen steps."""

    def __init__(self, engine: Engine, steps: set[int], value: float = math.nan) -> None:
        self.engine, self.steps, self.value, self.run = engine, steps, value, engine.run

    def __call__(self, *given: Any) -> dict[str, torch.Tensor]:
        factor = self.value if self.engine.step in self.steps else 1.0
        return {term: total * factor for term, total in self.run(*given).items()}


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("setting", ["clip=1.0", "clip=null", "sam=0.1"])
def test_an_update_that_is_not_finite_is_skipped_and_counted(new_engine: NewEngine, value: float, setting: str) -> None:
    engine = new_engine("richest", "training.log_every=1", f"training.{setting}", "training.tokens=8")
    poison: Any = Poison(engine, {2, 3, 7}, value)
    engine.run = poison
    for step in range(10):
        before = {name: tensor.clone() for name, tensor in engine.tensors().items()}
        line = engine.advance()
        assert line is not None
        moved = [name for name, tensor in engine.tensors().items() if not torch.equal(tensor, before.get(name, tensor))]
        assert all(bool(torch.isfinite(tensor).all()) for tensor in engine.tensors().values())
        if step in poison.steps:
            assert not moved
            assert line["train/loss"] is None
            assert line["grad_norm"] is None
        else:
            assert moved
            assert math.isfinite(line["train/loss"])
    assert (line["skipped"], engine.progress.skipped_in_a_row) == (3, 0)


def test_too_many_in_a_row_stop_the_run(new_engine: NewEngine) -> None:
    engine = new_engine("richest", "training.patience=3")
    poison: Any = Poison(engine, {1, 3, 4, 5})
    engine.run = poison
    for _ in range(5):
        engine.advance()
    (source,) = engine.sources
    rows = ", ".join(f"row {draw.index + 1}" for draw in source.order.step(5))
    with pytest.raises(ValueError, match="not finite in 3 updates in a row; stopped at step 5, at row ") as raised:
        engine.advance()
    assert rows in str(raised.value)
    assert "lower training.optimizer.lr" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_patience_outlives_a_stop(new_engine: NewEngine) -> None:
    engine, resumed = new_engine("richest", "training.patience=3"), new_engine("richest", "training.patience=3")
    for each in (engine, resumed):
        poison: Any = Poison(each, {0, 1, 2})
        each.run = poison
    engine.advance()
    engine.advance()
    resumed.restore(engine.step, engine.tensors(), engine.scalars())
    with pytest.raises(ValueError, match="3 updates in a row"):
        resumed.advance()


def test_weights_that_overflowed_are_named(new_engine: NewEngine) -> None:
    engine = new_engine()
    assert engine.not_finite() is None
    name, weight = list(engine.model.named_parameters())[3]
    weight.data.view(-1)[-1] = math.inf
    assert engine.not_finite() == name


def test_a_record_that_gives_no_sample(new_engine: NewEngine) -> None:
    """Its step goes on without it; a step of such records alone changes nothing and is no loss of zero."""
    engine = new_engine("richest", "training.records=12", "training.log_every=1")
    (source,) = engine.sources
    learn, first = source.learn, source.records[0].input.text
    source.learn = lambda record, rng: [] if record.input.text == first else learn(record, rng)
    line = engine.advance()
    assert line is not None
    assert line["train/loss"] > 0
    source.learn = lambda record, rng: []
    before = {name: tensor.clone() for name, tensor in engine.tensors().items()}
    line = engine.advance()
    assert line is not None
    assert line["train/loss"] is None
    assert all(torch.equal(tensor, before[name]) for name, tensor in engine.tensors().items())


def test_devices() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in ("cpu", "cuda")
    for name in ("gpu", "cuda:99", "cpu;"):
        with pytest.raises(ValueError, match=f"the device '{name}' cannot be used: ") as raised:
            choose_device(name)
        assert "\n" not in str(raised.value)
