"""The description of a model comes from strangers: a line for whatever is wrong with it, and no way out of the folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anyformer import artifact

COMPONENT = "components.letters/richest"


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
