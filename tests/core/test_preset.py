"""Presets: what counts as a parameter of one, what training takes from it, how they are listed."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest

from anyformer import cli, plugins
from anyformer.nn.config import Stack, Trunk
from anyformer.preset import Preset, count, settings_of, trunk_of

pytestmark = pytest.mark.usefixtures("letters")
WIDTH = 8
STACK = {"width": WIDTH, "depth": 1, "attention": {"heads": 2}}
LETTERS = 11
"""Ids of the tokenizer `letters/fixed`."""
BLOCK = 4 * (WIDTH * WIDTH + WIDTH) + (8 * WIDTH * WIDTH + 5 * WIDTH) + 2 * 2 * WIDTH
CROSS = 4 * (WIDTH * WIDTH + WIDTH) + 2 * WIDTH


def preset(task: str, *also: str, **config: Any) -> Preset:
    """An encoder and a decoder for a task of the tests' plugin."""
    trunk = Trunk.model_validate({"encoder": STACK, "decoder": {**STACK, "causal": True, "cross": True}})
    return Preset(
        trunk=trunk, task=task, config=config, also={id: {} for id in also}, state={"labels": ["a", "b"]},
        tokenizer="letters/fixed",
    )  # fmt: skip


def test_a_trunk_alone_counts_its_blocks_and_its_last_norm() -> None:
    assert count(Trunk(encoder=Stack.model_validate(STACK))) == BLOCK + 2 * WIDTH


def test_every_head_counts_and_every_shared_weight_counts_once() -> None:
    alone = 2 * BLOCK + CROSS + 2 * 2 * WIDTH + LETTERS * WIDTH
    classifier = 2 * (WIDTH + 1)
    assert count(preset("letters/reverse")) == alone
    assert count(preset("letters/reverse", "letters/richest")) == alone + classifier
    assert count(preset("letters/richest", "letters/reverse")) == alone + classifier


def test_a_config_that_the_task_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="letters/richest"):
        count(preset("letters/richest", unheard_of=1))


def test_training_takes_the_trunk_and_its_own_task_s_config() -> None:
    made = preset("letters/richest", "letters/reverse", left_out=0.5)
    assert trunk_of(made) == made.trunk == trunk_of(made.trunk)
    assert settings_of(made, "letters/richest") == {"config": {"left_out": 0.5}}
    assert settings_of(made, "letters/reverse") == settings_of(made.trunk, "letters/richest") == {}


def test_the_list_has_counts_and_marks_what_cannot_be_built(
    letters: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def whole() -> Preset:
        """A whole model.

        Not listed.
        """
        return preset("letters/reverse")

    monkeypatch.setattr(plugins, "presets", lambda: {"letters/whole": whole, "letters/wrong": lambda: 1 / 0})
    assert cli.main(["presets", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["presets"] == [
        {"id": "letters/whole", "parameters": count(whole()), "summary": "A whole model."},
        {"id": "letters/wrong", "parameters": None, "summary": ""},
    ]
    assert cli.main(["presets"]) == 0
    assert "wrong; see: anyformer plugins check" in capsys.readouterr().out
