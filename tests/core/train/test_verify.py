"""`verify-resume`: says "the same" of a sound run, names what differs first in one that is not, and leaves the run alone."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from anyformer import api, plugins
from anyformer.cli import main
from anyformer.data.dataset import IN_MEMORY
from anyformer.task import Sample
from anyformer.train import checkpoint, drawing, verify
from anyformer.train.drawing import Drawn
from anyformer.train.engine import Engine
from anyformer.train.run import Run
from anyformer.train.settings import Training
from anyformer.train.stop import Stopped

STEPS = 9


def here(folder: Path, step: int) -> None:
    """Goes on in this process, where a test can break what it likes."""
    listener = verify.StopAfter(step)
    plugins.register(listener)
    try:
        with suppress(Stopped):
            api.resume(folder)
    finally:
        plugins.unregister(listener)


def files(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def tried(run: Run, steps: int = 4, go_on: verify.GoOn = here) -> verify.Verification:
    training = Training.model_validate(run.settings["settings"]["training"])
    before = files(run.folder)
    found = verify.verify(run, training, STEPS, steps, go_on)
    assert files(run.folder) == before
    assert not list(run.folder.parent.glob(".verifying-*"))
    return found


@pytest.fixture(scope="module")
def run(letters: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on files, that holds the checkpoints of steps 0, 4, 8 and 9."""
    folder = tmp_path_factory.mktemp("verify")
    (folder / "words.jsonl").write_text("".join(json.dumps(row) + "\n" for row in letters.words(16)))
    every = [f"training.steps={STEPS}", "training.save_every=4", "training.keep=9", "training.evaluate_every=7"]
    return api.finetune("letters/richest", data=folder / "words.jsonl", out=folder / "run", overrides=every)


def test_a_sound_run_in_processes_of_their_own(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Through the shell. The newest checkpoint with two steps left is that of step 4, of 9."""
    before = files(run.folder)
    assert main(["verify-resume", str(run.folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["first"], found["stopped"], found["last"], found["same"]) == (4, 6, 8, True)
    assert found["tensors"] == len(checkpoint.load(run.folder / "checkpoints" / "00000008").tensors)
    assert files(run.folder) == before
    assert sorted(os.listdir(run.folder.parent)) == ["run", "words.jsonl"]


def test_in_words_with_averages_and_a_choice_by_score(run: Run, tmp_path: Path) -> None:
    every = [
        f"training.steps={STEPS}", "training.save_every=3", "training.ema=0.9", "training.evaluate_every=2",
        "training.selection={patience: 9}",
    ]  # fmt: skip
    data = run.folder.parent / "words.jsonl"
    chosen = api.finetune("letters/richest", data=data, out=tmp_path / "chosen", overrides=every)
    found = tried(chosen, steps=3)
    held = checkpoint.load(chosen.folder / "checkpoints" / "00000009").tensors
    assert str(found) == (
        "the same, from step 6, straight on to 9, and stopped at 7 and resumed: "
        f"the samples, losses and log of each step, and {len(held)} tensors"
    )
    assert {name.partition("/")[0] for name in held} == {"model", "optimizer", "average", "best"}


def test_a_run_with_nothing_left_begins_at_the_first_step(run: Run, tmp_path: Path) -> None:
    """With one checkpoint, of the last step: its weights learn on, by the samples and the rate of the first steps."""
    data = run.folder.parent / "words.jsonl"
    every = [f"training.steps={STEPS}", "training.keep=1"]
    ended = api.finetune("letters/richest", data=data, out=tmp_path / "ended", overrides=every)
    seen = []

    def watched(folder: Path, step: int) -> None:
        here(folder, step)
        seen.append([line["step"] for line in Run(folder).log.lines()])

    found = tried(ended, steps=2, go_on=watched)
    assert (found.same, found.first, found.stopped, found.last) == (True, 0, 1, 2)
    assert seen == [[1, 2], [1], [1, 2]]


def test_a_damaged_checkpoint_is_passed_over(run: Run, tmp_path: Path, stopped_at: Any) -> None:
    folder = stopped_at(run, tmp_path / "run", 4)
    (folder / "checkpoints" / "00000004" / "rank0.safetensors").write_bytes(b"")
    assert tried(Run(folder), steps=2).first == 0
    (folder / "checkpoints" / "00000000" / "manifest.json").unlink()
    with pytest.raises(ValueError, match="has no checkpoint that is whole, so there is nothing to go on from"):
        tried(Run(folder))


# -- what differs


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Engine], None]], None]:
    """A function that takes what is done to each engine after it has gone back to a checkpoint on the way."""

    def breaks(change: Callable[[Engine], None]) -> None:
        restore = Engine.restore

        def wrong(self: Engine, step: int, *given: Any) -> None:
            restore(self, step, *given)
            if step == 6:  # where the copy is stopped
                change(self)

        monkeypatch.setattr(Engine, "restore", wrong)

    return breaks


def test_other_samples(run: Run, broken: Any) -> None:
    """An order that forgets where it was."""

    def shift(engine: Engine) -> None:
        (source,) = engine.sources
        learn = source.learn
        source.learn = lambda record, rng: learn(record, np.random.default_rng(engine.step))

    broken(shift)
    found = tried(run)
    assert found.difference == "the samples of step 7"
    assert str(found).startswith(
        "different, from step 4, straight on to 8, and stopped at 6 and resumed: the samples of"
    )


def test_dropout_alone_differs_in_the_loss(run: Run, broken: Any) -> None:
    """A generator that nobody saved."""

    def redraw(engine: Engine) -> None:
        run = engine.run
        other: Any = lambda *given: (torch.rand(1), run(*given))[1]  # noqa: E731
        engine.run = other

    broken(redraw)
    found = tried(run)
    assert found.difference is not None
    assert found.difference.startswith("the loss of step 7 (")
    assert found.difference.endswith(" if stopped)")


def test_an_optimizer_that_forgets(run: Run, broken: Any) -> None:
    """The step after the stop still has the loss and the gradient of the other; the one after that has not."""
    broken(lambda engine: engine.optimizer.state.clear())
    found = tried(run)
    assert found.difference is not None
    assert found.difference.startswith("the loss of step 8 (")


@pytest.mark.parametrize(("group", "word"), [("model", "weight"), ("optimizer", "optimizer state")])
def test_state_that_no_loss_shows(run: Run, monkeypatch: pytest.MonkeyPatch, group: str, word: str) -> None:
    """One sign bit of a zero, in what the first of the two writes at the end."""
    save = checkpoint.save
    changed: list[str] = []

    def wrong(folder: Path, step: int, tensors: dict[str, torch.Tensor], *given: Any, **named: Any) -> Path:
        if step == 8:
            name = next(name for name, tensor in tensors.items() if name.startswith(f"{group}/") and tensor.ndim == 2)
            tensors = {**tensors, name: tensors[name].clone()}
            tensors[name].view(-1)[0] = 0.0 if changed else -0.0
            changed.append(name)
        return save(folder, step, tensors, *given, **named)

    monkeypatch.setattr(checkpoint, "save", wrong)
    found = tried(run)
    assert found.difference == f"the {word} {changed[0].removeprefix(f'{group}/')!r} after step 8"


def test_training_that_cannot_be_repeated_is_told_from_a_bad_resume(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)  # one for all: no draw is like that of another training
    monkeypatch.setattr(drawing, "record_rng", lambda seed, draw: rng)
    found = tried(run)
    assert found.difference == (
        "the samples of step 5; that was before the stop: this training cannot be repeated at all"
    )


def test_a_difference_is_exit_code_1(run: Run, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    found = verify.Verification("run", 4, 6, 8, 10, "the loss of step 7")
    monkeypatch.setattr(verify, "verify", lambda *given: found)
    assert main(["verify-resume", str(run.folder)]) == 1
    assert capsys.readouterr().out == (
        "different, from step 4, straight on to 8, and stopped at 6 and resumed: the loss of step 7\n"
    )


# -- the hash of samples


def test_the_hash_covers_order_names_types_shapes_and_values() -> None:
    def sample(name: str, values: Any) -> Sample:
        return Sample({name: np.asarray(values)}, {"label": np.array([1])})

    sets = [
        [], [sample("a", [1, 2])], [sample("b", [1, 2])], [sample("a", [2, 1])], [sample("a", [[1, 2]])],
        [sample("a", np.array([1, 2], np.int32))], [sample("a", [1]), sample("a", [2])],
        [sample("a", [2]), sample("a", [1])], [sample("a", [1, 2]), sample("a", [1, 2])],
    ]  # fmt: skip

    def hashed(samples: list[Sample], before: str = "") -> str:
        places = list(range(len(samples)))
        return drawing.chain(drawing.digests([Drawn(samples, places, places)]), before)

    hashes = [hashed(each) for each in sets] + [hashed(sets[1], "before")]
    assert len(set(hashes)) == len(hashes)
    assert hashed([sample("a", [1, 2])]) == hashes[1]


def test_it_is_in_the_log_only_where_it_is_asked_for(run: Run, new_engine: Callable[..., Engine]) -> None:
    assert not any("samples" in line for line in run.log.lines())
    engine, other = (new_engine("richest", "training.log_every=1", "training.log_samples=true") for _ in range(2))
    hashes = [(engine.advance() or {})["samples"] for _ in range(4)]
    assert len(set(hashes)) == 4
    scalars = engine.scalars()
    for _ in range(2):
        other.advance()
    assert (other.advance() or {})["samples"] == hashes[2]
    del scalars["progress"]["samples"], scalars["progress"]["bad_records"]
    other.restore(engine.step, engine.tensors(), scalars)  # a checkpoint of an older version has neither
    assert (other.progress.samples, other.progress.bad_records) == ("", {})


# -- what cannot be verified


def test_data_in_memory_is_one_line(whole: Run) -> None:
    with pytest.raises(
        ValueError, match=r"the run's data was in memory, where the copies of .* cannot read it; write the"
    ):
        api.verify_resume(whole.folder)


def test_data_in_memory_of_a_part_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    parts = [
        {"id": "one", "data": {"data": "a.csv", "valid": 0.1}},
        {"id": "two", "data": {"data": "b.csv", "valid": IN_MEMORY}},
    ]
    (tmp_path / "run" / "run.yaml").write_text(yaml.safe_dump({"parts": parts}))
    with pytest.raises(ValueError, match=r"^two: the run's valid was in memory, where the copies of "):
        api.verify_resume(tmp_path / "run")


def test_too_few_steps(run: Run) -> None:
    training = Training.model_validate(run.settings["settings"]["training"])
    with pytest.raises(ValueError, match="steps=1 has nothing between to stop at; give 2 or more"):
        verify.verify(run, training, STEPS, 1, here)
    with pytest.raises(ValueError, match="is a run of one step, which has nothing between to stop at"):
        verify.verify(run, training, 1, 4, here)


def test_what_a_copy_could_not_do_is_said(run: Run, tmp_path: Path) -> None:
    """In another process; and the user's own error comes before any copy is made."""
    with pytest.raises(
        ValueError, match=r"^a copy of the run could not be trained: .* is no run: it has no run\.yaml$"
    ):
        verify.in_another_process(tmp_path, 3)
    page = yaml.safe_load((run.folder / "run.yaml").read_text())
    page["data"]["data"] = str(tmp_path / "gone.jsonl")
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "run.yaml").write_text(yaml.safe_dump(page))
    (tmp_path / "moved" / "prepared").symlink_to(run.folder / "prepared")
    with pytest.raises(ValueError, match=r"no such file: .*gone\.jsonl"):
        api.verify_resume(tmp_path / "moved")
