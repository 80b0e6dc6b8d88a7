"""Artifacts: the same answers after loading, here and in another process, and weights that do not fit are named."""

from __future__ import annotations

import os
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

from anyformer import api, artifact
from anyformer.artifact import Artifact

NewModel = Callable[..., Artifact]


def refused(folder: Path) -> str:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the tests look at the message
        artifact.load(folder)
    assert "\n" not in str(raised.value)
    return str(raised.value)


# -- round trip


@pytest.mark.parametrize("name", ["richest", "reverse"])
def test_round_trip(new_letters_model: NewModel, tmp_path: Path, name: str) -> None:
    made = new_letters_model(name)
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


def test_shared_weights_are_stored_once_and_stay_shared(new_letters_model: NewModel, tmp_path: Path) -> None:
    artifact.save(new_letters_model("reverse"), tmp_path / "model")
    names = [name for name in load_file(tmp_path / "model" / "model.safetensors") if "table" in name or "head" in name]
    assert names == ["components.letters/reverse.embedding.streams.source.table.weight"]
    component = artifact.load(tmp_path / "model").model["letters/reverse"]
    streams: Any = component.embedding.streams
    assert component.head.output.weight is streams["target"].table.weight is streams["source"].table.weight


def test_state_of_any_kind_comes_back(new_letters_model: NewModel, tmp_path: Path) -> None:
    made = new_letters_model("richest")
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


def test_another_tokenizer_is_remembered_by_its_id(
    new_letters_model: NewModel, letters: ModuleType, tmp_path: Path
) -> None:
    artifact.save(new_letters_model("richest", "tokenizers.word.id=letters/fixed"), tmp_path / "model")
    found = artifact.load(tmp_path / "model").model["letters/richest"].task.tokens["word"]
    assert type(found) is letters.FixedLetters
    assert found.registered_id == "letters/fixed"


def test_a_model_is_replaced_whole(
    new_letters_model: NewModel, saved: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("anyformer.durable.write_tensors", full)
        with pytest.raises(OSError, match="No space left"):
            artifact.save(new_letters_model("reverse"), copy)
    assert list(artifact.load(copy).model.components) == ["letters/richest"]
    artifact.save(new_letters_model("reverse"), copy)
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


# -- use


def test_several_components(letters: ModuleType, copy: Path) -> None:
    found = artifact.load(copy)
    assert found.component() == found.component("richest") == found.component("letters/richest")
    with pytest.raises(ValueError, match="the model has no component 'reverse'; name one of: letters/richest"):
        found.component("reverse")
    found.model.components["letters/reverse"] = found.model["letters/richest"]
    with pytest.raises(ValueError, match="several components; name one of: letters/richest, letters/reverse"):
        found.component()


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
