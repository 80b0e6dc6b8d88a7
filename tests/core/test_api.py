"""The Python API from end to end: pretrain, fine-tune from it, resume, ask, evaluate."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml

from anyformer import api, scoring
from anyformer.train import checkpoint
from anyformer.train.run import Run

TRUNK = {"trunk": {"encoder": {"width": 16, "depth": 2, "attention": {"heads": 2}}}}
DECODER = {"trunk": {"decoder": {"width": 16, "depth": 2, "attention": {"heads": 2}}}}
SHORT = ["training.steps=6", "training.records=4", "training.log_every=2", "training.schedule.warmup=2"]


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode() + tensors[name].numpy().tobytes())
    return found.hexdigest()


def trunk_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    plain = {name.removeprefix("model/"): tensor for name, tensor in tensors.items()}
    return {name: tensor for name, tensor in plain.items() if name.startswith("trunk.")}


def page_of(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((run.folder / "run.yaml").read_text())
    return found


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the tests look at the message
        call()
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.fixture(scope="module")
def pretrained(letters: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of masked tokens."""
    rows = [{"text": row["text"]} for row in letters.words(40, longest=20)]
    out = tmp_path_factory.mktemp("runs") / "pretrained"
    return api.pretrain("masked-token", tokenizer="letters/seen", data=rows, out=out, settings=TRUNK, overrides=SHORT)


@pytest.fixture(scope="module")
def richest(letters: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of a task."""
    return api.finetune("richest", data=letters.words(30), out=tmp_path_factory.mktemp("runs") / "richest")


# -- pretraining


def test_pretraining_reports_the_loss_on_held_out_rows(pretrained: Run) -> None:
    (loss,) = pretrained.scores.values()
    assert list(pretrained.scores) == ["valid/loss"]
    assert 0 < loss < 2 * math.log(7)
    lines = pretrained.log.lines()
    assert [line["step"] for line in lines] == [2, 4, 6]
    page = page_of(pretrained)
    assert (page["kind"], page["id"], page["tokenizer"]) == ("objective", "masked-token", "letters/seen")
    assert (pretrained.folder / "report.html").stat().st_size > 1000
    assert not (pretrained.folder / "scores.json").exists()


def test_a_trunk_is_taken_over_exactly(pretrained: Run, letters: ModuleType, tmp_path: Path) -> None:
    run = api.finetune("richest", data=letters.words(30), out=tmp_path / "run", model=pretrained.folder,
                       overrides=["training.keep=9"])  # fmt: skip
    page = page_of(run)
    assert page["start"] == ["trunk: taken over", "embedding: taken over from masked-token", "head: new"]
    assert page["model"] == str(pretrained.folder)
    theirs = api.load(pretrained.folder).model.state_dict()
    ours = checkpoint.load(run.folder / "checkpoints" / "00000000").read()
    assert digest(trunk_of(ours)) == digest(trunk_of(theirs))
    assert len(trunk_of(ours)) > 20
    table = "embedding.streams.source.table.weight"
    assert torch.equal(ours[f"model/components.letters/richest.{table}"], theirs[f"components.masked-token.{table}"])
    final = api.load(run.folder).model.state_dict()
    assert digest(trunk_of(final)) != digest(trunk_of(theirs)), "it was trained"
    tokenizer = api.load(run.folder).model["letters/richest"].task.tokens["word"]
    assert tokenizer.registered_id == "letters/seen"


def test_a_preset_and_another_head(pretrained: Run, richest: Run, letters: ModuleType, tmp_path: Path) -> None:
    flat = api.finetune("richest", data=letters.words(20), out=tmp_path / "flat", preset="flat", overrides=SHORT)
    assert page_of(flat)["settings"]["trunk"]["encoder"]["width"] == 8
    again = api.finetune(
        "richest", data=letters.words(20), out=tmp_path / "again", model=richest.folder, overrides=SHORT
    )
    assert page_of(again)["start"][2] == "head: taken over from letters/richest"
    said = refused(lambda: api.finetune("reverse", data=letters.words(9), out=tmp_path / "no", model=pretrained.folder))
    assert said == "letters/reverse needs a trunk with a decoder; this one has none"
    said = refused(
        lambda: api.finetune("richest", data=letters.words(9), out=tmp_path / "no", model=richest.folder, preset="flat")
    )
    assert "not two of them" in said
    assert not (tmp_path / "no").exists()


def test_next_token_goes_on_from_itself(letters: ModuleType, tmp_path: Path) -> None:
    asked: dict[str, Any] = {
        "tokenizer": "fixed", "data": letters.words(30), "valid": letters.words(5, seed=1), "settings": DECODER,
        "overrides": [*SHORT, "config.context=8", "training.evaluate_every=3"],
    }  # fmt: skip
    first = api.pretrain("next-token", out=tmp_path / "first", **asked)
    assert next(line for line in first.log.lines() if "valid/loss" in line)["step"] == 3
    second = api.pretrain("next-token", out=tmp_path / "second", model=first.model, **asked)
    assert page_of(second)["start"] == [
        "trunk: taken over", "embedding: taken over from next-token", "head: taken over from next-token"
    ]  # fmt: skip
    ours = checkpoint.load(first.folder / "checkpoints" / "00000006").read()
    assert digest(trunk_of(ours)) == digest(trunk_of(api.load(first.folder).model.state_dict()))
    stopped = shutil.copytree(first.folder, tmp_path / "stopped", ignore=shutil.ignore_patterns("model", "00000006"))
    resumed = api.resume(stopped, data=asked["data"], valid=asked["valid"])
    assert resumed.scores == first.scores
    assert (resumed.model / "model.safetensors").read_bytes() == (first.model / "model.safetensors").read_bytes()


@pytest.mark.parametrize("tokenizer", ["nlp/bytes", "nlp/bpe"])
def test_pretraining_over_text(tmp_path: Path, tokenizer: str) -> None:
    path = tmp_path / "book.txt"
    path.write_text("".join(f"Line {number} says that {number % 7} is no {number % 5}.\n" for number in range(80)))
    size = ["tokenizers.tokenizer.vocabulary_size=300"] if tokenizer == "nlp/bpe" else []
    run = api.pretrain("next-token", tokenizer=tokenizer, data=str(path), out=tmp_path / "run", settings=DECODER,
                       overrides=[*SHORT, *size, "config.context=32"])  # fmt: skip
    assert 0 < run.scores["valid/loss"] < 7
    assert refused(lambda: api.pipeline(model=run.folder)).startswith("'next-token' is a pretraining objective")
    shutil.rmtree(run.model)
    shutil.rmtree(run.folder / "checkpoints" / "00000006")
    assert api.resume(run.folder).finished


def test_what_pretraining_refuses(letters: ModuleType, tmp_path: Path) -> None:
    def pretrain(objective: str = "next-token", tokenizer: str = "letters/seen", **given: Any) -> str:
        rows = given.pop("data", letters.words(9))
        return refused(lambda: api.pretrain(objective, tokenizer=tokenizer, data=rows, out=tmp_path / "run", **given))

    assert "(did you mean 'next-token'?)" in pretrain("next-tokn")
    assert "(did you mean 'letters/seen'?)" in pretrain(tokenizer="letters/sene")
    assert "trunk.decoder.causal must be true" in pretrain(overrides=["trunk.decoder.causal=false"])
    patches = pretrain(tokenizer="finance/patches", settings=DECODER)
    assert patches == "this objective needs a tokenizer of ids; the one given makes continuous patches"
    assert "which column is to be learned?" in pretrain(data=[{"a": "x", "b": "y"}] * 9)
    assert pretrain(data=[{"text": ""}] * 9, tokenizer="fixed", overrides=["config.context=512"])
    assert "cannot be made" not in pretrain(settings={"training": {"steps": "many"}})
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_is_null(
    pretrained: Run, letters: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_loss", lambda *given: math.nan)
    folder = pretrained.folder.with_name("nan")
    rows = [{"text": row["text"]} for row in letters.words(9)]
    run = api.pretrain("masked-token", tokenizer="fixed", data=rows, out=folder, settings=TRUNK,
                       overrides=[*SHORT, "training.evaluate_every=2"])  # fmt: skip
    assert run.scores == {"valid/loss": None}
    assert "NaN" not in (run.model / "anyformer.json").read_text() + (folder / "metrics.jsonl").read_text()


# -- tasks


def test_load_and_ask(richest: Run, letters: ModuleType) -> None:
    found = api.load(richest.folder)
    assert found.info["data"] == page_of(richest)["data"]["fingerprint"]
    for asked in (
        api.pipeline(model=richest.folder),
        api.pipeline("richest", model=str(richest.model)),
        api.pipeline("letters/richest", model=found),
    ):
        assert asked.component == "letters/richest"
        assert asked(text="abba").label in "abcd"
    assert "(did you mean 'richest'?)" in refused(lambda: api.pipeline("richst", model=found))
    said = refused(lambda: api.pipeline("letters/reverse", model=found))
    assert said == "the model has no component 'letters/reverse'; name one of: letters/richest"
    assert "the device 'gpu' cannot be used" in refused(lambda: api.load(richest.folder, "gpu"))


def test_evaluate(richest: Run, letters: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in letters.words(20, seed=3)))
    found = api.evaluate("richest", model=richest.folder, data=str(path))
    assert (found.task, found.model, found.data) == ("letters/richest", str(richest.folder), str(path))
    assert found.records == 20
    again = api.evaluate(model=richest.folder, data=letters.words(20, seed=3), loud=True)
    assert (again.data, again.scores["accuracy"]["value"]) == ("in memory", 0.0)
    assert "'lowd'" in refused(lambda: api.evaluate(model=richest.folder, data=letters.words(3), lowd=True))
    assert "'label' is missing" in refused(lambda: api.evaluate(model=richest.folder, data=[{"text": "a"}]))


def test_a_run_that_has_not_finished_says_how_to_go_on(richest: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(richest.folder, tmp_path / "run", ignore=shutil.ignore_patterns("model"))
    assert refused(lambda: api.load(folder)) == (
        f"the run {folder} has not finished; go on with: anyformer resume {folder}"
    )


def test_a_task_is_drawn_scored_and_reported(richest: Run) -> None:
    assert richest.finished
    assert sorted(path.name for path in richest.folder.iterdir()) == [
        "checkpoints", "metrics.jsonl", "model", "prepared", "report.html", "run.yaml", "scores.json"
    ]  # fmt: skip
    assert richest.scores["verdict"] in ("skill", "no skill")
    assert set(richest.scores["baselines"]) == {"majority", "first"}


def test_what_finetuning_refuses_is_found_before_anything_is_written(letters: ModuleType, tmp_path: Path) -> None:
    rows = letters.words(9)

    def finetune(task: str = "richest", data: Any = rows, **given: Any) -> str:
        return refused(lambda: api.finetune(task, data=data, out=tmp_path / "run", **given))

    assert "(did you mean 'richest'?)" in finetune("richst")
    assert "(did you mean 'letters/richest'?)" in finetune("letters/richst")
    assert "there is no model at none" in finetune(model="none")
    assert "unknown preset 'huge'" in finetune(preset="huge")
    assert "cannot read the settings in 'none.yaml'" in finetune(settings="none.yaml")
    assert "no such file: 'none.csv'" in finetune(data="none.csv")
    assert "row 1: 'label' is missing; given: 'text'" in finetune(data=[{"text": "ab"}] * 9)
    assert finetune(valid=[{"text": "ab", "label": "?"}]).startswith("in memory: record 1: the label '?' was not in")
    assert finetune(valid=[{"text": "ab"}]).startswith("in memory: row 1: 'label' is missing")
    assert finetune(valid=[{"text": "?", "label": "a"}]).startswith("in memory: record 1: '?' is no letter of")
    assert "the data has no rows" in finetune(data=[])
    assert list(tmp_path.iterdir()) == []
