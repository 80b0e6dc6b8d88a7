"""Averages, the best weights and early stopping: what is given, and that a stop on the way changes nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from anyformer import api, scoring
from anyformer.objectives import OBJECTIVES
from anyformer.train import checkpoint
from anyformer.train.engine import Engine
from anyformer.train.run import Run
from anyformer.train.selection import Best, directions
from anyformer.train.settings import Selection

NewEngine = Callable[..., Engine]
Begin = Callable[..., Run]
STEPS = 8
"""Of a run of the fixtures."""


# -- the average


def test_the_average_is_that_of_the_formula(new_engine: NewEngine) -> None:
    engine = new_engine("richest", "training.ema=0.3", "training.freeze=[embedding]")
    names = [name for name, weight in engine.model.named_parameters() if weight.requires_grad]
    expected = {name: engine.model.get_parameter(name).detach().double() for name in names}
    for step in range(5):
        engine.advance()
        decay = min(0.3, (1 + step) / (10 + step))
        for name in names:
            expected[name] = decay * expected[name] + (1 - decay) * engine.model.get_parameter(name).detach().double()
    assert engine.average is not None
    assert list(engine.average.tensors) == names
    for name in names:
        torch.testing.assert_close(engine.average.tensors[name].double(), expected[name], rtol=0, atol=1e-6)


def test_weights_and_averages_change_places_bit_for_bit(new_engine: NewEngine) -> None:
    engine = new_engine("richest", "training.ema=0.9")
    for _ in range(3):
        engine.advance()
    before = {name: tensor.clone() for name, tensor in engine.tensors().items()}
    with engine.evaluated():
        for name, weight in engine.model.named_parameters():
            assert torch.equal(weight, before[f"average/{name}"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in engine.tensors().items())


def test_a_skipped_update_moves_no_average(new_engine: NewEngine) -> None:
    engine = new_engine("richest", "training.ema=0.9")
    engine.advance()
    assert engine.average is not None
    before = {name: tensor.clone() for name, tensor in engine.average.tensors.items()}
    run = engine.run
    poison: Any = lambda *given: {term: total * math.nan for term, total in run(*given).items()}  # noqa: E731
    engine.run = poison
    engine.advance()
    assert engine.progress.skipped == 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in engine.average.tensors.items())


@pytest.mark.parametrize("step", [0, 3, 8])
def test_with_an_average_a_resumed_run_ends_the_same(
    begin: Begin, letters: ModuleType, tmp_path: Path, step: int, stopped_at: Callable[..., Path],
    assert_same: Callable[..., None],
) -> None:  # fmt: skip
    valid = letters.words(5, seed=9)
    asked = ["training.ema=0.8", "training.evaluate_every=3", "training.selection={}", "training.layer_decay=0.7"]
    whole = begin(tmp_path / "whole", *asked, valid=valid)
    folder = stopped_at(whole, tmp_path / "run", step)
    assert_same(api.resume(folder, data=letters.words(16), valid=valid), whole)


def test_the_artifact_has_the_averages(begin: Begin, tmp_path: Path) -> None:
    run = begin(tmp_path / "run", "training.ema=0.8")
    saved = checkpoint.load(run.folder / "checkpoints" / f"{STEPS:08d}").read()
    given = load_file(run.model / "model.safetensors")
    assert not all(torch.equal(tensor, saved[f"model/{name}"]) for name, tensor in given.items())
    for name, tensor in given.items():
        assert torch.equal(tensor, saved.get(f"average/{name}", saved[f"model/{name}"])), name


# -- the best weights


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[float]], None]:
    """A function that decides the scores of the evaluations on the way, by the step they follow."""

    def decide(scores: list[float]) -> None:
        monkeypatch.setattr(
            scoring, "scores", lambda artifact, *given: {"accuracy": scores[steps_of(artifact.model)], "other": 0.0}
        )

    def steps_of(model: Any) -> int:
        return engines[-1].step - 1

    engines: list[Engine] = []
    post = Engine.__post_init__
    monkeypatch.setattr(Engine, "__post_init__", lambda self: (post(self), engines.append(self))[0])
    return decide


def weights_at(run: Run, step: int) -> dict[str, torch.Tensor]:
    found = checkpoint.load(run.folder / "checkpoints" / f"{step:08d}").read()
    return {name.removeprefix("model/"): tensor for name, tensor in found.items() if name.startswith("model/")}


EVERY = ["training.evaluate_every=1", "training.selection={}"]


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([0.1, 0.2, 0.5, 0.4, 0.5, 0.3, 0.2, 0.1], 3),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], 8),
        ([math.nan, 0.1, math.nan, 0.0, 0.0, 0.0, 0.0, math.nan], 2),
        ([math.nan] * 8, 8),
    ],
)
def test_the_artifact_has_the_best_weights(
    begin: Begin, letters: ModuleType, tmp_path: Path, scored: Any, scores: list[float], best: int
) -> None:
    scored(scores)
    run = begin(tmp_path / "run", *EVERY, valid=letters.words(4, seed=1))
    given = load_file(run.model / "model.safetensors")
    assert all(torch.equal(tensor, given[name]) for name, tensor in weights_at(run, best).items())
    last = begin(tmp_path / "last", *EVERY, "training.selection.keep=last", valid=letters.words(4, seed=1))
    assert all(torch.equal(tensor, load_file(last.model / "model.safetensors")[name])
               for name, tensor in weights_at(run, STEPS).items())  # fmt: skip


@pytest.mark.parametrize("resumed_from", [0, 2, 3, 4, 5])
def test_early_stopping_and_a_resume_on_the_way(
    begin: Begin, letters: ModuleType, tmp_path: Path, scored: Any, heard: Any, stopped_at: Callable[..., Path],
    resumed_from: int,
) -> None:  # fmt: skip
    scored([0.1, 0.2, 0.5, 0.4, 0.5, 0.9, 0.9, 0.9])
    valid = letters.words(4, seed=1)
    run = begin(tmp_path / "run", *EVERY, "training.selection.patience=2", valid=valid)
    assert heard.warnings == [
        "stopped early at step 5: accuracy has not been better than 0.5000, of step 3, in 2 evaluations"
    ]
    assert heard.ended == ["finished"]
    assert max(int(path.name) for path in (run.folder / "checkpoints").iterdir()) == 5
    given = (run.model / "model.safetensors").read_bytes()
    assert all(torch.equal(tensor, load_file(run.model / "model.safetensors")[name])
               for name, tensor in weights_at(run, 3).items())  # fmt: skip
    folder = stopped_at(run, tmp_path / "resumed", resumed_from)
    resumed = api.resume(folder, data=letters.words(16), valid=valid)
    assert (resumed.model / "model.safetensors").read_bytes() == given
    without = [
        [{k: v for k, v in line.items() if k != "seconds"} for line in each.log.lines()] for each in (run, resumed)
    ]
    assert without[0] == without[1]


def test_the_direction_is_the_metric_s_own(new_engine: NewEngine) -> None:
    class Less:
        higher_is_better = False
        names = ("error", "also")

    bound: Any = new_engine().model["letters/richest"].task
    bound.metrics = lambda: [Less()]
    best = Best(Selection(metric="also"), directions(bound))
    model = new_engine().model
    for step, score in enumerate([3.0, 2.0, 2.0, 2.5, 1.0]):
        best.judge(model, step, {"error": 0.0, "also": score})
    assert (best.score, best.step, best.num_worse) == (1.0, 4, 0)


def test_an_objective_has_its_loss(letters: ModuleType) -> None:
    objective = OBJECTIVES["next-token"]
    bound = objective(objective.Config(), letters.FixedLetters(letters.FixedLetters.Config()))
    best = Best(Selection(), directions(bound))
    assert (best.metric, best.higher) == ("loss", False)


def test_a_selection_that_cannot_be_made(begin: Begin, letters: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"selection.metric is 'acuracy' \(did you mean 'accuracy'\?\); the scores are: ac"
    ):
        begin(tmp_path / "run", *EVERY, "training.selection.metric=acuracy", valid=letters.words(4, seed=1))
    with pytest.raises(ValueError, match=r"training.selection needs held-out data; give some with valid, or leave the"):
        begin(tmp_path / "run", *EVERY)
    assert list(tmp_path.iterdir()) == []


def test_with_real_scores_the_evaluation_is_that_of_the_best_weights(
    begin: Begin, letters: ModuleType, tmp_path: Path
) -> None:
    run = begin(tmp_path / "run", *EVERY, "training.optimizer.lr=0.03", valid=letters.words(30, seed=1))
    logged = [line["valid/accuracy"] for line in run.log.lines() if "valid/accuracy" in line]
    assert len(logged) == STEPS
    assert json.loads((run.folder / "scores.json").read_text())["scores"]["accuracy"]["value"] == max(logged)
