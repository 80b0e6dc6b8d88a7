"""Several tasks and objectives on one trunk: trained, resumed, saved, asked and taken over; and mixtures that are none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml

from anyformer import api, cli, mixture
from anyformer.artifact import Artifact
from anyformer.train.run import Run

RICHEST, REVERSE, MASKED = "letters/richest", "letters/reverse", "masked-token@letters/seen"
STACK = {"width": 16, "depth": 1, "attention": {"heads": 2}}
SHARED: dict[str, Any] = {
    "trunk": {"encoder": STACK, "decoder": {**STACK, "causal": True, "cross": True}},
    "training": {
        "steps": 6, "records": 8, "log_every": 2, "evaluate_every": 4, "save_every": 4, "keep": 9, "optimizer": {"lr": 0.01},
        "schedule": {"warmup": 0},
    },
}  # fmt: skip


def parts(letters: ModuleType) -> list[dict[str, Any]]:
    """Two tasks that need different halves of the trunk, and an objective."""
    texts = [{"text": row["text"]} for row in letters.words(16, longest=20)]
    return [
        {"task": "richest", "data": letters.words(30), "weight": 2, "config": {"left_out": 0.0}},
        {"task": REVERSE, "data": letters.words(20, seed=1), "valid": letters.words(5, seed=2)},
        {"objective": "masked-token", "tokenizer": "seen", "data": texts},
    ]  # fmt: skip


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the tests look at the message
        call()
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.fixture(scope="module")
def run(letters: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of all three parts."""
    out = tmp_path_factory.mktemp("runs") / "all"
    return api.pretrain(mixture=parts(letters), out=out, settings=SHARED, overrides=["mixture.1.weight=3"])


@pytest.fixture(scope="module")
def artifact(run: Run) -> Artifact:
    return api.load(run.folder)


def test_losses_and_scores_are_by_part(run: Run) -> None:
    page, lines = run.settings, run.log.lines()
    assert (page["kind"], page["start"], list(page["settings"])) == ("mixture", [], ["trunk", "training"])
    told = {part["id"]: part for part in page["parts"]}
    assert {id: (part["weight"], part["data"]["rows"]) for id, part in told.items()} == {
        RICHEST: (2, 27), REVERSE: (3, 20), MASKED: (1, 14)
    }  # fmt: skip
    assert told[RICHEST]["settings"] == {"config": {"left_out": 0.0}, "tokenizers": {"word": {"most": 26, "id": None}}}
    losses = [line for line in lines if "train/loss" in line]
    assert [line["step"] for line in losses] == [2, 4, 6]
    for line in losses:
        by_part = [line[f"train/loss/{id}"] for id in (RICHEST, REVERSE, MASKED)]
        assert line["train/loss"] == pytest.approx(sum(map(float.__mul__, by_part, (2 / 6, 3 / 6, 1 / 6))))
    (on_the_way,) = (line for line in lines if "train/loss" not in line)
    assert list(on_the_way) == [
        "step", f"valid/{RICHEST}/accuracy", f"valid/{REVERSE}/exact_match", f"valid/{MASKED}/loss"
    ]  # fmt: skip
    assert list(run.scores) == [RICHEST, REVERSE, MASKED]
    assert list(run.scores[RICHEST]["baselines"]) == ["majority", "first"]
    assert list(run.scores[MASKED]) == ["valid/loss"]
    assert json.loads((run.folder / "scores.json").read_text()) == run.scores
    report = (run.folder / "report.html").read_text()
    said = [f"<h2>{RICHEST}", f"What it answers: {REVERSE}", f"{MASKED}/loss", f"data of {MASKED}"]
    assert [words for words in said if words not in report] == []


def test_each_part_has_the_half_that_it_needs(artifact: Artifact) -> None:
    streams = {id: list(artifact.model[id].embedding.streams) for id in artifact.model.components}
    assert streams == {RICHEST: ["source"], REVERSE: ["source", "target"], MASKED: ["source"]}


def test_each_task_is_served(run: Run, artifact: Artifact, letters: ModuleType) -> None:
    assert api.pipeline("richest", model=run.folder)({"text": "aab"}).label in "abcd"
    assert isinstance(api.pipeline(REVERSE, model=artifact)({"text": "aab"}).backwards, str)
    assert "name one of" in refused(lambda: api.pipeline(model=artifact))
    for name in (MASKED, "masked-token"):
        assert "is a pretraining objective" in refused(lambda: api.pipeline(name, model=artifact))  # noqa: B023
    again = api.evaluate(RICHEST, model=run.folder, data=letters.words(9, seed=7))
    assert again.records == 9


def test_a_task_goes_on_from_a_mixture(run: Run, artifact: Artifact, letters: ModuleType, tmp_path: Path) -> None:
    rows = letters.words(20)
    tuned = api.finetune("richest", data=rows, model=run.folder, out=tmp_path / "run", overrides=["training.steps=1"])
    page = tuned.settings
    assert page["start"] == [
        "trunk: taken over", f"embedding: taken over from {RICHEST}", f"head: taken over from {RICHEST}"
    ]  # fmt: skip
    assert page["settings"]["trunk"]["decoder"] is None, "the half that it does not need stays behind"
    theirs = artifact.model[RICHEST].task
    assert api.load(tuned.folder).model[RICHEST].task.tokens["word"].letters == theirs.tokens["word"].letters
    whole = api.pretrain(
        mixture=parts(letters), model=artifact, out=tmp_path / "on", settings={"training": {"steps": 1}}
    )
    assert whole.settings["start"][:3] == [
        "trunk: taken over", f"embedding of {RICHEST}: taken over from {RICHEST}",
        f"head of {RICHEST}: taken over from {RICHEST}",
    ]  # fmt: skip
    alone = api.pretrain(
        mixture=parts(letters)[::2], out=tmp_path / "alone", settings={"training": {"steps": 1}},
        overrides=[f"trunk={tuned.folder}"],
    )  # fmt: skip
    assert alone.settings["start"][1] == f"embedding of {RICHEST}: new"


def test_a_mixture_is_resumed_bit_for_bit(run: Run, letters: ModuleType, tmp_path: Path) -> None:
    stopped = shutil.copytree(run.folder, tmp_path / "run", ignore=shutil.ignore_patterns("model", "00000006"))
    given = {part.get("task", MASKED): part["data"] for part in parts(letters)}
    given[RICHEST] = given.pop("richest")
    valid = {REVERSE: letters.words(5, seed=2)}
    assert f"{RICHEST}: the run's data was in memory" in refused(lambda: api.resume(stopped))
    assert "give data by id" in refused(lambda: api.resume(stopped, data=letters.words(30)))
    resumed = api.resume(stopped, data=given, valid=valid)
    ours, theirs = (api.load(one.folder).model.state_dict() for one in (resumed, run))
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    assert resumed.scores[MASKED] == run.scores[MASKED]


def test_a_mixture_in_the_shell(
    letters: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("words.jsonl").write_text("".join(json.dumps(row) + "\n" for row in letters.words(20)))
    entries = [
        {"task": RICHEST, "data": "words.jsonl"},
        {"objective": "next-token", "tokenizer": "letters/fixed", "data": "words.jsonl", "columns": "text=text"},
    ]  # fmt: skip
    trunk = {"encoder": STACK, "decoder": {**STACK, "causal": True}}
    page = {"mixture": entries, "trunk": trunk, "training": {"steps": 4, "records": 4}}
    Path("all.yaml").write_text(yaml.safe_dump(page))
    asked = ["pretrain", "all.yaml", "--out", "run"]
    assert cli.main([*asked, "mixture.0.config.left_out=0.1", "training.log_every=2"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].split()[0] == "part"
    assert [row.split()[0] for row in rows[1:]] == [RICHEST, "next-token@letters/fixed", "model:"]
    assert api.load("run").model[RICHEST].task.config.left_out == 0.1
    assert cli.main(["verify-resume", "run"]) == 0
    assert cli.main(["run", "richest", "--model", "run", "text=abc"]) == 0
    assert cli.main([*asked[:-1], "other", "--data", "words.jsonl"]) == 2
    assert "part by part; leave them out" in capsys.readouterr().err
    assert cli.main(["pretrain", "next-token", "--out", "other"]) == 2
    assert "needs an objective, its tokenizer and data" in capsys.readouterr().err
    assert not Path("other").exists()


BAD: list[tuple[Callable[[list[dict[str, Any]]], Any], str]] = [
    (lambda some: some[0].update(wieght=1), "no setting 'mixture.0.wieght' (did you mean 'weight'?)"),
    (lambda some: some[0].update(objective="masked-token"), "'mixture.0': a part is a task or an objective"),
    (lambda some: some[0].pop("task"), "'mixture.0': a part is a task or an objective"),
    (lambda some: some[0].update(tokenizer="letters/seen"), "'mixture.0': a task has tokenizers of its own"),
    (lambda some: some[2].pop("tokenizer"), "'mixture.2': an objective needs a 'tokenizer'"),
    (lambda some: some[1].pop("data"), "'mixture.1.data' is missing"),
    (lambda some: some[1].update(weight=0), "'mixture.1.weight' is 0; it should be greater than 0"),
    (lambda some: some[1].update(task="letters/richest"), "mixture.1: letters/richest is mixture.0 already"),
    (lambda some: some[1].update(task="revers"), "mixture.1: unknown task 'revers'"),
    (lambda some: some[2].update(objective="masked-tokn"), "mixture.2: unknown objective 'masked-tokn' (did you mean"),
    (lambda some: some[0].update(config={"left": 1}), "mixture.0: there is no setting 'config.left' (did you mean"),
    (lambda some: some[0].update(data="none.jsonl"), "mixture.0: "),
    (lambda some: some[0].update(data=[{"text": "ab"}] * 9), "mixture.0: row"),
    (lambda some: some.clear(), "'mixture' is []; it should have at least 2 items"),
]


@pytest.mark.parametrize(("change", "said"), BAD)
def test_a_bad_part_is_one_line(letters: ModuleType, tmp_path: Path, change: Any, said: str) -> None:
    some = parts(letters)
    change(some)
    assert said in refused(lambda: api.pretrain(mixture=some, out=tmp_path / "run", settings=SHARED))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["mixture.3.weight=1"], "there is no part 'mixture.3'; the parts are: mixture.0 to mixture.2"),
        (["mixture.first.weight=1"], "there is no part 'mixture.first'"),
        (["mixture.0.config.left=1"], "mixture.0: there is no setting 'config.left' (did you mean 'left_out'?)"),
        (["training.step=1"], "there is no setting 'training.step' (did you mean 'steps'?)"),
        (["trainig.steps=1"], "there is no setting 'trainig' (did you mean 'training'?)"),
        (["training.records=2"], "a step takes at least one record of each of the 3 parts"),
        (["trunk.decoder.cross=false"], "trunk.decoder.causal and trunk.decoder.cross must be true"),
        (["trunk.encoder=null", "trunk.decoder.cross=false"], "mixture.0: letters/richest needs a trunk with an encoder"),
        (["training.selection.metric=letters/richest/accurac"], "did you mean 'letters/richest/accuracy'?"),
        (["mixture.2.valid=none", "training.selection.patience=2"], f"{MASKED}: training.selection needs held-out data"),
    ],
)  # fmt: skip
def test_bad_settings_are_one_line(letters: ModuleType, tmp_path: Path, overrides: list[str], said: str) -> None:
    some = parts(letters)
    if "must be true" in said:
        some[1] = {"objective": "span-corruption", "tokenizer": "fixed", "data": [{"text": "abcabc"}] * 9}
    asked = {"mixture": some, "out": tmp_path / "run", "settings": SHARED, "overrides": overrides}
    assert said in refused(lambda: api.pretrain(**asked))
    assert not (tmp_path / "run").exists()


def test_what_is_no_mixture(letters: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("training: {steps: 3}\n")
    assert "has no mixture; it must hold a list" in refused(lambda: api.pretrain(mixture=path, out=tmp_path / "run"))
    assert "'mixture' is missing" in refused(lambda: api.pretrain(mixture={"trunk": {}}, out=tmp_path / "run"))
    assert "cannot read" in refused(lambda: api.pretrain(mixture=tmp_path / "no.yaml", out=tmp_path / "run"))
    assert [mixture.is_file(name) for name in ("all.yaml", "a/b.yml", "masked-token")] == [True, True, False]
    decoder = [{"objective": "next-token", "tokenizer": "fixed", "data": [{"text": "ab"}] * 9}, parts(letters)[1]]
    said = refused(lambda: api.pretrain(mixture=decoder, out=tmp_path / "run", settings=SHARED))
    assert said.startswith(
        "mixture.0: next-token@letters/fixed has no encoder for the decoder's cross-attention to read"
    )


def test_a_component_is_what_its_name_says(run: Run, tmp_path: Path) -> None:
    model = shutil.copytree(run.model, tmp_path / "model")
    page = json.loads((model / "anyformer.json").read_text())
    page["components"]["masked-token@../../elsewhere"] = page["components"].pop(MASKED)
    (model / "anyformer.json").write_text(json.dumps(page))
    assert "its tokenizer is not '../../elsewhere', as its name says" in refused(lambda: api.load(model))
