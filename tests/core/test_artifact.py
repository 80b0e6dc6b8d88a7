"""Artifacts: the same answers after loading, a line for whatever is wrong, and no way out of the folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from anyformer import api, artifact, plugins
from anyformer.artifact import Artifact
from anyformer.train.prepare import new_model, new_task, task_settings


def model_of(letters: ModuleType, name: str, *overrides: str) -> Artifact:
    kind = plugins.task(f"letters/{name}")
    settings = task_settings(kind, [], overrides)
    bound = new_task(kind, settings, letters.words(12), None)
    return new_model(f"letters/{name}", bound, settings, None)[0]


@pytest.fixture(scope="module")
def saved(letters: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a saved model of `letters/richest`."""
    folder = tmp_path_factory.mktemp("models") / "model"
    made = model_of(letters, "richest")
    made.info["evaluation"] = {"scores": {}}
    artifact.save(made, folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    shutil.copytree(saved, tmp_path / "model")
    return tmp_path / "model"


def edited(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    path = folder / artifact.NAME
    page = json.loads(path.read_text())
    change(page)
    path.write_text(json.dumps(page))
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the tests look at the message
        artifact.load(folder)
    assert "\n" not in str(raised.value)
    return str(raised.value)


# -- round trip


@pytest.mark.parametrize("name", ["richest", "reverse"])
def test_round_trip(letters: ModuleType, tmp_path: Path, name: str) -> None:
    made = model_of(letters, name)
    made.info.update(data="abc", evaluation={"scores": {"x": 1.5}})
    artifact.save(made, tmp_path / "model")
    found = artifact.load(tmp_path / "model")
    assert (found.trunk, found.info) == (made.trunk, made.info)
    ours, theirs = found.model.state_dict(), made.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[weight], theirs[weight]) for weight in ours)
    id = f"letters/{name}"
    before, after = made.model[id].task, found.model[id].task
    assert after.config == before.config
    assert after.state.keys() == before.state.keys()
    assert after.tokens["word"].letters == before.tokens["word"].letters
    assert not found.model.training
    again = tmp_path / "again"
    artifact.save(found, again)
    for path in (tmp_path / "model").rglob("*"):
        if path.is_file():
            assert (again / path.relative_to(tmp_path / "model")).read_bytes() == path.read_bytes()


def test_shared_weights_are_stored_once_and_stay_shared(letters: ModuleType, tmp_path: Path) -> None:
    artifact.save(model_of(letters, "reverse"), tmp_path / "model")
    names = [name for name in load_file(tmp_path / "model" / "model.safetensors") if "table" in name or "head" in name]
    assert names == ["components.letters/reverse.embedding.streams.source.table.weight"]
    component = artifact.load(tmp_path / "model").model["letters/reverse"]
    streams: Any = component.embedding.streams
    assert component.head.output.weight is streams["target"].table.weight is streams["source"].table.weight


def test_state_of_any_kind_comes_back(letters: ModuleType, tmp_path: Path) -> None:
    made = model_of(letters, "richest")
    task = made.model["letters/richest"].task
    task.state.update(
        scalar=np.array(2.5), turned=np.arange(6.0).reshape(2, 3).T, small=np.array([1], np.int8), words=["ä", "b"],
        nested={"a": {"b": [1, 2.5, None]}},
    )  # fmt: skip
    artifact.save(made, tmp_path / "model")
    found = artifact.load(tmp_path / "model").model["letters/richest"].task.state
    assert found.keys() == task.state.keys()
    for key, value in task.state.items():
        if isinstance(value, np.ndarray):
            assert (found[key].shape, found[key].dtype) == (value.shape, value.dtype)
            assert (found[key] == value).all()
        else:
            assert found[key] == value


def test_another_tokenizer_is_remembered_by_its_id(letters: ModuleType, tmp_path: Path) -> None:
    artifact.save(model_of(letters, "richest", "tokenizers.word.id=letters/fixed"), tmp_path / "model")
    found = artifact.load(tmp_path / "model").model["letters/richest"].task.tokens["word"]
    assert type(found) is letters.FixedLetters
    assert found.registered_id == "letters/fixed"


def test_a_model_is_replaced_whole(
    saved: Path, copy: Path, letters: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("anyformer.durable.write_tensors", full)
        with pytest.raises(OSError, match="No space left"):
            artifact.save(model_of(letters, "reverse"), copy)
    assert list(artifact.load(copy).model.components) == ["letters/richest"]
    artifact.save(model_of(letters, "reverse"), copy)
    assert list(artifact.load(copy).model.components) == ["letters/reverse"]
    assert [path.name for path in copy.parent.iterdir()] == ["model"]


def test_same_answers_in_another_process(saved: Path, letters_folder: Path) -> None:
    ours = api.pipeline(model=saved)
    words = ["abba", "cd", "a" * 20]
    script = f"import sys; from anyformer import api; p = api.pipeline(model={str(saved)!r}); " \
             f"print([list(p._solve(p.model, p.component, p.task.encode(p.task.Input(text=w), None), None, [0]))" \
             f"[0][1].values['logits'].tobytes().hex() for w in {words}])"  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(letters_folder)}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    logits = []
    for word in words:
        samples = ours.task.encode(ours.task.Input(text=word), None)
        (found,) = ours._solve(ours.model, ours.component, samples, None, [0])
        logits.append(found[1].values["logits"].tobytes().hex())
    assert run.stdout.strip() == str(logits)


# -- weights


def reshaped(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> str:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    return refused(folder)


def test_weights_that_do_not_fit_are_named(copy: Path) -> None:
    name = "components.letters/richest.head.output.weight"
    path = copy / "model.safetensors"
    shape = list(load_file(path)[name].shape)
    whole = path.read_bytes()
    assert reshaped(copy, lambda tensors: tensors.pop(name)) == f"{path} lacks the weight {name!r}"
    path.write_bytes(whole)
    assert reshaped(copy, lambda tensors: tensors.update(extra=torch.zeros(1))) == (
        f"{path} has the weight 'extra', which the model does not know"
    )
    path.write_bytes(whole)
    assert reshaped(copy, lambda tensors: tensors.update({name: torch.zeros(1, 2)})) == (
        f"{path}: {name!r} has shape [1, 2]; the model needs {shape}"
    )
    path.write_bytes(whole[: len(whole) // 2])
    assert refused(copy).startswith(f"{path} cannot be read: ")
    path.unlink()
    assert refused(copy).startswith(f"{path} cannot be read: ")


# -- the description


def test_what_is_no_model(tmp_path: Path) -> None:
    assert refused(tmp_path / "none").startswith("there is no model at ")
    (tmp_path / "file").write_text("x")
    assert refused(tmp_path / "file").endswith("file is a file; a model is a folder with anyformer.json")
    (tmp_path / "other").mkdir()
    assert refused(tmp_path / "other").endswith("it has no anyformer.json; it has: nothing")
    (tmp_path / "other" / "config.json").write_text("{}")
    assert refused(tmp_path / "other").endswith("it has no anyformer.json; it has: config.json")


@pytest.mark.parametrize("text", ["", "{", '{"format": 1', "\x00", "[" * 100_000, b"\xff\xfe{}"])
def test_a_damaged_description(copy: Path, text: str | bytes) -> None:
    path = copy / artifact.NAME
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert refused(copy).startswith(f"{path} is no JSON: ")


@pytest.mark.parametrize(("text", "found"), [("[]", "[]"), ("3", "3"), ("{}", "None"), ('{"format": 2}', "2")])
def test_another_format(copy: Path, text: str, found: str) -> None:
    (copy / artifact.NAME).write_text(text)
    assert refused(copy).endswith(f"has format {found}; this version of anyformer reads format 1")


def set_key(page: dict[str, Any], key: str, value: Any) -> None:
    *steps, last = key.split(".")
    for step in steps:
        page = page[step]
    if value is None:
        del page[last]
    else:
        page[last] = value


COMPONENT = "components.letters/richest"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("trunk", None, "'trunk' is missing"),
        ("components", None, "'components' is missing"),
        ("components", [], "'components': Input should be a valid dictionary"),
        (f"{COMPONENT}.config", None, "'components.letters/richest.config' is missing"),
        (f"{COMPONENT}.kind", "module", "'components.letters/richest.kind': Input should be 'task' or 'objective'"),
        (f"{COMPONENT}.module", "os", "'components.letters/richest.module': Extra inputs are not permitted"),
        (f"{COMPONENT}.tokenizers.word.path", "/etc", "word.path': Extra inputs are not permitted"),
        (f"{COMPONENT}.config.module", "os:system", "letters/richest: 'module': Extra inputs are not permitted"),
        (f"{COMPONENT}.config.left_out", 7, "letters/richest: 'left_out': Input should be less than 1 (given: 7)"),
        (f"{COMPONENT}.tokenizers.word.config.file", "x", "letters/richest: 'file': Extra inputs are not permitted"),
        ("trunk.encoder.target", "os:system", "'trunk.encoder.target': Extra inputs are not permitted"),
        ("trunk.encoder.width", 0, "'trunk.encoder.width': Input should be greater than or equal to 1"),
        (f"{COMPONENT}.tokenizers.word", None, "letters/richest: it has the tokenizers none; it needs: 'word'"),
        (f"{COMPONENT}.tokenizers.more", {"config": {}}, "it has the tokenizers 'more', 'word'; it needs: 'word'"),
        (f"{COMPONENT}.tokenizers.word.id", "os:system", "unknown tokenizer 'os:system'"),
        (f"{COMPONENT}.tokenizers.word.id", "letters/sen", "unknown tokenizer 'letters/sen' (did you mean"),
    ],
)  # fmt: skip
def test_a_key_that_is_wrong_is_named(copy: Path, key: str, value: Any, said: str) -> None:
    assert said in refused(edited(copy, lambda page: set_key(page, key, value)))


def renamed(id: str) -> Callable[[dict[str, Any]], None]:
    def change(page: dict[str, Any]) -> None:
        page["components"] = {id: page["components"]["letters/richest"]}

    return change


def test_a_missing_plugin_is_told_how_to_get(copy: Path) -> None:
    said = refused(edited(copy, renamed("weather/rain")))
    assert said.startswith("unknown task 'weather/rain': no plugin 'weather' is installed; installed: ")
    assert said.endswith("to install it: pip install anyformer-weather")


def test_another_version_is_told_where_it_cannot_be_read(copy: Path) -> None:
    def older(page: dict[str, Any]) -> None:
        page["components"]["letters/richest"].update(version="0.9", config={"old": 1})

    assert refused(edited(copy, older)).endswith(
        "it was saved with anyformer-letters 0.9; to install that: pip install anyformer-letters==0.9"
    )
    edited(copy, lambda page: set_key(page, f"{COMPONENT}.config", {"left_out": 0.1}))
    assert list(artifact.load(copy).model.components) == ["letters/richest"], "another version that fits will do"


@pytest.mark.parametrize("file", ["state.json", "state.safetensors", "tokenizers/word/letters.json"])
def test_what_was_learned_is_damaged(copy: Path, file: str) -> None:
    path = copy / "components" / "letters" / "richest" / file
    path.write_bytes(b"{")
    said = refused(copy)
    assert str(path.parent) in said
    assert "cannot be read" in said or "is no JSON" in said
    if file != "state.safetensors":
        path.unlink()
        assert str(path.parent) in refused(copy)


def test_several_components(letters: ModuleType, copy: Path) -> None:
    found = artifact.load(copy)
    assert found.component() == found.component("richest") == found.component("letters/richest")
    with pytest.raises(ValueError, match="the model has no component 'reverse'; name one of: letters/richest"):
        found.component("reverse")
    found.model.components["letters/reverse"] = found.model["letters/richest"]
    with pytest.raises(ValueError, match="several components; name one of: letters/richest, letters/reverse"):
        found.component()


# -- no way out


@pytest.mark.parametrize("id", ["../../x", "letters/../../x", "/etc/x", "letters/richest/../../../x", "..", ""])
def test_an_id_is_no_path(copy: Path, id: str) -> None:
    shutil.copytree(copy / "components" / "letters" / "richest", copy.parent / "x")
    assert "unknown task" in refused(edited(copy, renamed(id)))


def test_a_tokenizer_name_is_no_path(copy: Path) -> None:
    shutil.copytree(copy / "components" / "letters" / "richest" / "tokenizers" / "word", copy.parent / "word")

    def change(page: dict[str, Any]) -> None:
        tokenizers = page["components"]["letters/richest"]["tokenizers"]
        tokenizers["../../../../../word"] = {**tokenizers.pop("word"), "id": "letters/seen"}

    assert "it needs: 'word'" in refused(edited(copy, change))


def test_loading_opens_nothing_outside_the_folder(saved: Path) -> None:
    artifact.load(saved)  # whatever is imported at first use, is imported now
    opened: list[str] = []
    listening = [True]

    def listen(event: str, given: tuple[Any, ...]) -> None:
        if listening[0] and event in (
            "open",
            "os.listdir",
            "os.scandir",
            "import",
            "subprocess.Popen",
            "socket.connect",
        ):
            opened.append(f"{event} {given[0]}")

    sys.addaudithook(listen)
    artifact.load(saved)
    listening[0] = False
    assert opened
    assert [line for line in opened if not line.startswith(f"open {saved}{os.sep}")] == []
