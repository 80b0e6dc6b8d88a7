"""Runs: resumed from anywhere they end the same, begun only where nothing is lost, and free of pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml

from anyformer import api
from anyformer.train.run import Run

Begin = Callable[..., Run]
StoppedAt = Callable[[Run, Path, int], Path]
AssertSame = Callable[[Run, Run], None]
STEPS = 8
"""Of a run of the fixtures."""


# -- resume


@pytest.mark.parametrize("step", range(STEPS + 1))
def test_resumed_at_any_step_it_ends_the_same(
    whole: Run, letters: ModuleType, tmp_path: Path, step: int, stopped_at: StoppedAt, assert_same: AssertSame
) -> None:
    folder = stopped_at(whole, tmp_path / "run", step)
    assert_same(api.resume(folder, data=letters.words(16)), whole)


def test_a_second_run_is_the_same_and_another_seed_is_not(
    begin: Begin, whole: Run, tmp_path: Path, assert_same: AssertSame
) -> None:
    assert_same(begin(tmp_path / "again"), whole)
    other = begin(tmp_path / "other", "training.seed=1")
    assert (other.model / "model.safetensors").read_bytes() != (whole.model / "model.safetensors").read_bytes()


def test_a_finished_run_is_returned_as_it_is(whole: Run) -> None:
    before = (whole.model / "model.safetensors").stat()
    assert api.resume(whole.folder).finished
    assert (whole.model / "model.safetensors").stat() == before


def test_with_evaluations_on_the_way(
    begin: Begin, letters: ModuleType, tmp_path: Path, stopped_at: StoppedAt, assert_same: AssertSame
) -> None:
    """Evaluating changes nothing that is learned, and a resumed run has each evaluation once."""
    valid = letters.words(5, seed=9)
    run = begin(tmp_path / "run", "training.evaluate_every=2", "training.save_every=3", valid=valid)
    evaluated = [line["step"] for line in run.log.lines() if "valid/accuracy" in line]
    assert evaluated == [2, 4, 6]
    for step in (3, 6):
        folder = stopped_at(run, tmp_path / f"at-{step}", step)
        resumed = api.resume(folder, data=letters.words(16), valid=valid)
        assert_same(resumed, run)
        assert resumed.scores["scores"] == run.scores["scores"]
    without = begin(tmp_path / "without", "training.save_every=3", valid=valid)
    assert (without.model / "model.safetensors").read_bytes() == (run.model / "model.safetensors").read_bytes()


def test_other_data_is_refused(whole: Run, letters: ModuleType, tmp_path: Path, stopped_at: StoppedAt) -> None:
    folder = stopped_at(whole, tmp_path / "run", 3)
    with pytest.raises(ValueError, match="the run's data was in memory; give the same rows again"):
        api.resume(folder)
    with pytest.raises(ValueError, match=r"the run's data \(in memory\) has changed since it began"):
        api.resume(folder, data=letters.words(16, seed=1))


# -- the folder


def test_a_folder_that_cannot_be_a_run(whole: Run, begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes").write_text("x")
    for out, said in (
        (whole.folder, f"already holds a run; go on with: anyformer resume {whole.folder}"),
        (tmp_path / "used", "exists and is not empty; give another folder"),
        (tmp_path / "file", "exists and is not empty; give another folder"),
        (tmp_path / "file" / "run", "file is no folder; give another folder"),
        (Path(), "'.' is no name for a run's folder"),
    ):
        with pytest.raises(ValueError, match="folder") as raised:
            begin(out)
        assert said in str(raised.value)
    assert sorted(os.listdir(tmp_path)) == ["file", "used"]


def test_an_empty_folder_and_one_to_be_made_will_do(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert begin(tmp_path / "empty", "training.steps=1").finished
    assert begin(tmp_path / "a" / "b" / "run", "training.steps=1").finished
    assert sorted(os.listdir(tmp_path)) == ["a", "empty"]


def test_a_wrong_device_or_a_sequence_too_long_is_found_before_anything_is_written(
    begin: Begin, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="the device 'cuda:99' cannot be used"):
        begin(tmp_path / "run", "training.device=cuda:99")
    learned = ["trunk.encoder.position.kind=learned", "trunk.encoder.position.length=6"]
    with pytest.raises(ValueError, match=r"^a sequence reaches \d+ tokens; the model has 6 learned positions"):
        begin(tmp_path / "run", *learned)
    rows = [{"text": "ab", "label": "ab"[place % 2]} for place in range(9)]
    valid = [{"text": "abababa", "label": "a"}]
    with pytest.raises(ValueError, match=r"^in memory: a sequence reaches 8 tokens"):
        api.finetune("richest", data=rows, valid=valid, out=tmp_path / "run", overrides=learned)
    assert list(tmp_path.iterdir()) == []


def test_the_page_of_a_run(whole: Run) -> None:
    page = yaml.safe_load((whole.folder / "run.yaml").read_text())
    assert (page["kind"], page["id"], page["model"], page["start"]) == ("task", "letters/richest", None, [])
    assert (page["settings"]["training"]["steps"], page["settings"]["config"]["left_out"]) == (STEPS, 0.2)
    assert page["data"]["rows"] == 16
    assert len(page["data"]["fingerprint"]) == 64
    assert page["torch"] == str(torch.__version__)


def test_scores_of_a_run(begin: Begin, letters: ModuleType, tmp_path: Path) -> None:
    run = begin(tmp_path / "run", valid=letters.words(6, seed=3))
    assert json.loads((run.folder / "scores.json").read_text()) == run.scores
    assert run.scores["records"] == 6
    assert Run(tmp_path / "none").scores == {}
