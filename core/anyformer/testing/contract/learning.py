"""The contract, second part: how a task learns. Gradients add up, and a run is a function of its seed."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from anyformer import api
from anyformer.testing.compare import difference
from anyformer.testing.contract import *  # noqa: F403 - its fixtures
from anyformer.testing.subject import SAVE_EVERY, STEPS, Small, Subject
from anyformer.train.drawing import Drawn
from anyformer.train.run import Run


@pytest.fixture(scope="session")
def runs(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """Two runs alike, but that the second was killed between two checkpoints, and resumed."""
    folder = tmp_path_factory.mktemp("runs")
    whole, killed = subject.run(folder / "whole"), subject.run(folder / "killed", killed=True)
    assert whole.finished
    assert not killed.finished, "the run was not killed; what swallows KeyboardInterrupt?"
    return whole, api.resume(killed.folder, data=subject.rows)


def test_a_step_on_a_repeated_batch_lowers_the_loss(fresh: Small) -> None:
    """With the same dropout in both."""
    engine = fresh.engine(lr=1e-4)
    fresh.artifact.model.train()
    before = engine.gradient([Drawn(fresh.samples)]).means_C.item()
    engine.optimizer.step()
    after = engine.gradient([Drawn(fresh.samples)]).means_C.item()
    assert after < before, f"the loss was {before:.6f}, and is {after:.6f} after a small step; does a gradient flow?"


def test_micro_packs_add_up(fresh: Small) -> None:
    """The gradient of a step does not depend on how it is cut: in float64, to 1e-10 of its greatest number."""
    model = fresh.artifact.model.double().eval()
    if model[fresh.id].head.couples_samples:
        pytest.skip("its head couples the samples of a micro-pack, and says so")
    budgets = {"one": 10**9, "one a sample": 1, "some": sum(sample.cost for sample in fresh.samples) // 3}
    gradients = {}
    for name, tokens in budgets.items():
        model.zero_grad()
        fresh.engine(tokens=tokens).gradient([Drawn(fresh.samples)])
        gradients[name] = {path: p.grad.numpy().copy() for path, p in model.named_parameters() if p.grad is not None}
    for name in budgets:
        found = difference(gradients[name], gradients["one"], tolerance=1e-10)
        assert not found, (
            f"cut into micro-packs ({name}), the gradient of {found}; the head's loss must return sums, weigh what they are "
            "divided by, and neither embedding nor head may look from one sample at another"
        )


def test_the_same_seed_gives_the_same_weights(runs: tuple[Run, Run]) -> None:
    """Of two runs, at a checkpoint before either was touched."""
    found = _different(runs, f"checkpoints/{SAVE_EVERY:08d}/rank0.safetensors")
    assert not found, (
        f"two runs with one seed differ at step {SAVE_EVERY}, in {found}; what draws from another generator?"
    )


def test_a_resumed_run_equals_the_uninterrupted_one(runs: tuple[Run, Run]) -> None:
    """Bit for bit, with dropout and augmentation on; no line of the log is missing, and none is there twice."""
    found = _different(runs, "model/model.safetensors")
    assert not found, f"resumed, the run ends with another {found}; what is no function of seed and step?"
    whole, resumed = ([{**line, "seconds": None} for line in run.log.lines()] for run in runs)
    assert [line["step"] for line in resumed] == list(range(1, STEPS + 1))
    assert not difference(resumed, whole)


def _different(runs: tuple[Run, Run], file: str) -> str:
    """The first tensor of a file that is not the same in both runs, by name."""
    one, other = (load_file(run.folder / file) for run in runs)
    assert list(one) == list(other)
    return next((name for name in one if not torch.equal(one[name], other[name])), "")
