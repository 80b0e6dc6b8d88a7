"""From what a user asked to settings and tokenizers, and the messages on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from anyformer import launch, plugins, starting
from anyformer.artifact import Artifact
from anyformer.nn import Model, Trunk, config
from anyformer.task import Task
from anyformer.train.prepare import check_records, new_model, new_objective, new_task, objective_settings, task_settings
from anyformer.train.settings import SGD, AdamW, Settings


@pytest.fixture
def richest(letters: ModuleType) -> type[Task[Any, Any, Any]]:
    return plugins.task("letters/richest")


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the tests look at the message
        call()
    assert "\n" not in str(raised.value)
    return str(raised.value)


# -- settings


def test_defaults_of_the_task_then_layers_then_overrides(richest: type[Task[Any, Any, Any]]) -> None:
    layers = [{"training": {"records": 7, "clip": 0.5}}, {"training.records": 8}]
    found = task_settings(richest, layers, ["training.clip=2"])
    assert (found.training.steps, found.training.records, found.training.clip) == (12, 8, 2.0)
    assert found.trunk.encoder is not None
    assert (found.trunk.encoder.width, found.config.left_out) == (16, 0.2)


def test_another_optimizer_drops_the_keys_of_the_first(richest: type[Task[Any, Any, Any]]) -> None:
    adamw = {"training": {"optimizer": {"name": "adamw", "lr": 0.5, "betas": [0.1, 0.2]}}}
    found = task_settings(richest, [adamw], ["training.optimizer.name=sgd", "training.optimizer.momentum=0.5"])
    assert found.training.optimizer == SGD(momentum=0.5)
    kept = task_settings(richest, [adamw], ["training.optimizer.weight_decay=0"])
    assert kept.training.optimizer == AdamW(lr=0.5, betas=(0.1, 0.2), weight_decay=0)
    assert "it belongs to name=adamw" in refused(
        lambda: task_settings(richest, [], ["training.optimizer.name=sgd", "training.optimizer.betas=[0.1,0.2]"])
    )


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.step=5", "there is no setting 'training.step' (did you mean 'steps'?)"),
        ("trunk.encoder.widht=5", "there is no setting 'trunk.encoder.widht' (did you mean 'width'?)"),
        ("config.left=5", "there is no setting 'config.left' (did you mean 'left_out'?)"),
        ("lr=5", "there is no setting 'lr' (did you mean 'training.optimizer.lr'?)"),
        ("training.steps=0", "'training.steps' is 0; it should be greater than or equal to 1"),
        ("training.precision=fp8", "'training.precision' is 'fp8'; it should be 'auto', 'fp32', 'bf16' or 'fp16'"),
        ("training.ema=1", "'training.ema' is 1; it should be less than 1"),
        ("training.layer_decay=0", "'training.layer_decay' is 0; it should be greater than 0"),
        ("training.lora.rank=0", "'training.lora.rank' is 0; it should be greater than or equal to 1"),
        ("training.lora.target=[query]", "there is no setting 'training.lora.target' (did you mean 'targets'?)"),
        ("training.lora.targets=[]", "'training.lora.targets' is []; it should have at least 1 item"),
        ("training.optimizer.betas=[0.9,1]", "it should be less than 1"),
        ("training.schedule.name=step", "'wsd'"),
        (
            "training.selection.patience=0",
            "'training.selection.patience' is 0; it should be greater than or equal to 1",
        ),
        ("training.selection.patience=2", "training.selection compares evaluations; set training.evaluate_every"),
        ("training.steps", "'training.steps' is no override; write key=value"),
        ("trunk.encoder.attention.heads=3", "width 16 is not divisible by 3 heads"),
        ("tokenizers.words.id=x", "there is no setting 'tokenizers.words' (did you mean 'word'?)"),
        ("tokenizers.word.id=letters/sen", "unknown tokenizer 'letters/sen' (did you mean 'letters/seen'?)"),
        ("tokenizers=letters/fixed", "'tokenizers' is 'letters/fixed'; it takes the settings 'word'"),
        ("tokenizers.word=letters/fixed", "'tokenizers.word' is 'letters/fixed'; it takes the settings"),
    ],
)
def test_wrong_settings_are_one_line(richest: type[Task[Any, Any, Any]], override: str, said: str) -> None:
    assert said in refused(lambda: task_settings(richest, [], [override]))


def test_settings_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("training: {steps: 5, optimizer: {lr: 1e-4}}\nconfig: {mode: no}\n")
    (layer,) = launch.layers(path)
    assert layer == {"training": {"steps": 5, "optimizer": {"lr": 1e-4}}, "config": {"mode": "no"}}
    assert launch.layers(None) == []
    path.write_text("- 1\n")
    assert "must hold a mapping" in refused(lambda: launch.layers(path))
    path.write_text("a: [1\n")
    assert "no YAML" in refused(lambda: launch.layers(path))
    assert "cannot read" in refused(lambda: launch.layers(tmp_path / "none.yaml"))


# -- trunk


def test_a_preset_replaces_the_trunk(richest: type[Task[Any, Any, Any]]) -> None:
    given = starting.asked([], ["trunk.encoder.dropout=0.4"])
    begin = starting.beginning("letters/richest", richest, None, "letters/flat", None, given)
    assert begin.trunk is not None
    found = task_settings(richest, begin.layers, given.overrides, begin.trunk)
    assert begin.trunk.encoder is not None
    assert found.trunk.encoder == begin.trunk.encoder.model_copy(update={"dropout": 0.4})
    starting.check_trunk("letters/richest", "encoder", found.trunk, None)


def test_the_blocks_of_a_model_stay_as_they_are(
    richest: type[Task[Any, Any, Any]], new_letters_model: Callable[..., Artifact]
) -> None:
    start = new_letters_model("richest", "trunk.encoder.width=24")
    given = starting.asked([], [])
    begin = starting.beginning("letters/richest", richest, start, None, None, given)
    assert task_settings(richest, begin.layers, [], begin.trunk).trunk == start.trunk
    assert task_settings(richest, begin.layers, [], begin.trunk).config == start.model["letters/richest"].task.config
    allowed = task_settings(richest, [], ["trunk.encoder.dropout=0.4"], begin.trunk).trunk
    starting.check_trunk("letters/richest", "encoder", allowed, start)
    changed = task_settings(richest, [], ["trunk.encoder.depth=1"], begin.trunk).trunk
    assert "cannot be changed; leave out the settings under trunk" in refused(
        lambda: starting.check_trunk("letters/richest", "encoder", changed, start)
    )
    assert "and not two of them" in refused(
        lambda: starting.beginning("letters/richest", richest, start, "letters/flat", None, given)
    )


def test_a_trunk_alone_has_a_new_embedding_and_its_own_weights(
    richest: type[Task[Any, Any, Any]], new_letters_model: Callable[..., Artifact]
) -> None:
    start = new_letters_model("richest", "trunk.encoder.position.kind=learned", "trunk.encoder.embedding.segments=2")
    given = starting.asked([{"trunk": "somewhere"}], ["training.steps=3"])
    assert (given.trunk_of, given.layers, given.overrides) == ("somewhere", [{}], ["training.steps=3"])
    begin = starting.beginning("letters/richest", richest, None, None, start, given)
    assert begin.artifact is not None
    assert not begin.artifact.model.components
    assert begin.trunk is not None
    assert begin.trunk.encoder is not None
    assert begin.trunk.encoder.embedding.segments == 0
    assert begin.said == [f"trunk: sha256 {starting.fingerprint(start.model.trunk)}"]


def test_a_stack_used_the_other_way_is_reported(
    richest: type[Task[Any, Any, Any]], new_letters_model: Callable[..., Artifact]
) -> None:
    start = new_letters_model("richest")
    stack = start.trunk.encoder
    assert stack is not None
    causal = Artifact(
        Model(Trunk(None, start.model.trunk.encoder), {}),
        config.Trunk(decoder=stack.model_copy(update={"causal": True})),
    )
    begin = starting.beginning("letters/richest", richest, None, None, causal, starting.asked([], []))
    assert begin.trunk == config.Trunk(encoder=stack)
    assert begin.said[1:] == ["trunk: was trained to read left to right, and is now used in both directions"]


def test_epochs_take_the_place_of_the_steps_that_a_task_sets(richest: type[Task[Any, Any, Any]]) -> None:
    assert richest.default_training["steps"]
    assert task_settings(richest, []).training.steps == richest.default_training["steps"]
    assert task_settings(richest, [], ["training.epochs=2"]).training.steps is None
    assert task_settings(richest, [{"training": {"epochs": 2}}], ["training.steps=7"]).training.steps == 7


def test_a_start_from_a_model_has_settings_of_its_own(
    richest: type[Task[Any, Any, Any]], new_letters_model: Callable[..., Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(richest, "default_tuning", {"training.epochs": 2, "training.optimizer.lr": 1e-5})
    given = starting.asked([], ["training.optimizer.lr=1e-4"])
    begin = starting.beginning("letters/richest", richest, new_letters_model("richest"), None, None, given)
    found = task_settings(richest, [*begin.layers, *given.layers], given.overrides, begin.trunk).training
    assert (found.steps, found.epochs, found.optimizer.lr) == (None, 2, 1e-4)
    scratch = starting.beginning("letters/richest", richest, None, None, None, given)
    assert task_settings(richest, scratch.layers, [], None).training.steps == richest.default_training["steps"]


def test_a_trunk_without_the_half_that_is_needed() -> None:
    encoder = config.Trunk(encoder=config.Stack(width=8, attention=config.Attention(heads=2)))
    said = refused(lambda: starting.check_trunk("letters/reverse", "both", encoder, None))
    assert said == "letters/reverse needs a trunk with a decoder; this one has none"


# -- tokenizers


@pytest.mark.parametrize("id", ["letters/fixed", "fixed"])
def test_another_tokenizer_by_its_id(letters: ModuleType, richest: type[Task[Any, Any, Any]], id: str) -> None:
    settings = task_settings(richest, [], [f"tokenizers.word.id={id}"])
    bound = new_task(richest, settings, letters.words(8), None)
    assert type(bound.tokens["word"]) is letters.FixedLetters
    assert bound.tokens["word"].registered_id == "letters/fixed", "a bare name may mean another tokenizer elsewhere"
    said = refused(lambda: task_settings(richest, [], ["tokenizers.word.id=fixed", "tokenizers.word.most=3"]))
    assert "there is no setting 'tokenizers.word.most'" in said


def test_the_last_word_on_a_tokenizer_wins(letters: ModuleType, richest: type[Task[Any, Any, Any]]) -> None:
    layers = [{"tokenizers": {"word": {"id": "letters/fixed"}}}, {"tokenizers.word.id": "letters/seen"}]
    assert task_settings(richest, layers, []).tokenizers.word.id == "letters/seen"
    ids = ["tokenizers.word.id=letters/fixed", "tokenizers.word.id=letters/seen", "tokenizers.word.most=3"]
    assert task_settings(richest, [], ids).tokenizers.word.most == 3
    own = task_settings(richest, layers[:1], ["tokenizers.word.id=null"])
    assert type(new_task(richest, own, letters.words(8), None).tokens["word"]) is letters.Seen


def test_the_tokenizer_of_a_model_is_taken_over(
    letters: ModuleType, richest: type[Task[Any, Any, Any]], new_letters_model: Callable[..., Artifact]
) -> None:
    start = new_letters_model("richest", "tokenizers.word.most=4")
    bound = new_task(richest, task_settings(richest, [], []), letters.words(8), start)
    assert bound.tokens["word"] is start.model["letters/richest"].task.tokens["word"]
    asked = task_settings(richest, [], ["tokenizers.word.most=9"])
    said = refused(lambda: new_task(richest, asked, letters.words(8), start))
    assert said.startswith("'tokenizers.word.most' is 9, but the tokenizer of the model to start from has 4 ")


# -- records


def test_what_is_taken_over_is_said(
    letters: ModuleType, richest: type[Task[Any, Any, Any]], new_letters_model: Callable[..., Artifact]
) -> None:
    start = new_letters_model("richest")
    settings: Settings = task_settings(richest, [], [], start.trunk)
    rows = [{"text": "ab", "label": label} for label in ("x", "y")]
    bound = new_task(richest, settings, rows, start)
    artifact, said = new_model({"letters/richest": bound}, settings, start)
    assert said == ["trunk: taken over", "embedding: taken over from letters/richest", "head: new"]
    ours, theirs = artifact.model.state_dict(), start.model.state_dict()
    same = [
        name for name in ours if ours[name].shape == theirs[name].shape and bool((ours[name] == theirs[name]).all())
    ]
    assert set(ours) - set(same) == {f"components.letters/richest.head.output.{name}" for name in ("weight", "bias")}


def test_records_are_prepared_before_a_run(letters: ModuleType, richest: type[Task[Any, Any, Any]]) -> None:
    rows = [{"text": "a" * (1 + place % 5), "label": "ab"[place % 2]} for place in range(20)]
    bound = new_task(richest, task_settings(richest, [], ["config.left_out=0"]), rows, None)
    found = check_records(bound, bound.records(rows), 0)
    assert found.mean == 4.0
    assert [record.input.text for record in found.longest] == ["aaaaa"]
    bad = [*rows, {"text": "a", "label": "strange"}]
    assert "'strange' was not in the training data" in refused(lambda: check_records(bound, bound.records(bad), 0))
    assert "there is nothing to learn from" in refused(lambda: check_records(bound, [], 0))
    assert "has no records" in refused(lambda: new_task(richest, task_settings(richest, [], []), [], None))


def test_objectives_by_name(letters: ModuleType) -> None:
    kind = plugins.tokenizer("letters/fixed")
    said = refused(lambda: objective_settings("next-tokn", kind, []))
    assert said.startswith("unknown objective 'next-tokn' (did you mean 'next-token'?); there are: next-token, masked-")
    settings = objective_settings("next-token", kind, [], ["config.context=5"])
    bound = new_objective("next-token", "letters/fixed", settings, letters.words(4), None)
    assert (bound.config.context, bound.tokenizer.registered_id) == (5, "letters/fixed")
