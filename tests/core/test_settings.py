"""Layers, overrides and their one validation; what is said of a key or a value that is wrong."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import pytest
from pydantic import Field, create_model, model_validator

from anyformer.settings import merge, parse, read, validated
from anyformer.task import Frozen


class Adam(Frozen):
    name: Literal["adam"] = "adam"
    lr: float = Field(default=1e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)


class Sgd(Frozen):
    name: Literal["sgd", "momentum"] = "sgd"
    lr: float = Field(default=0.1, gt=0)
    momentum: float = 0.0


class Norm(Frozen):
    kind: Literal["layer", "rms"] = "layer"
    epsilon: float = 1e-5


class Stack(Frozen):
    width: int = Field(default=64, ge=1)
    heads: int = 4
    norm: Norm = Norm(epsilon=1e-6)

    @model_validator(mode="after")
    def _divides(self) -> Stack:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by {self.heads} heads")
        return self


# Unions are made at run time, from what plugins bring.
Optimizer = Annotated[Adam | Sgd, Field(discriminator="name")]
Settings = create_model(
    "Settings",
    __base__=Frozen,
    name=(str, "a run"),
    encoder=(Stack | None, None),
    optimizer=(Optimizer, Adam(betas=(0.8, 0.9))),
    others=(list[Optimizer], []),
    labels=(list[str], ["a"]),
    steps=(int | Literal["auto"], "auto"),
    seed=(int, 0),
)


def settings(*layers, overrides=()):
    return validated(Settings, merge(*layers, overrides=overrides))


def test_later_layers_win_and_defaults_fill():
    found = settings(
        {"encoder": {"width": 32, "heads": 2}, "optimizer.lr": 0.5, "labels": ["x", "y"]},
        {"encoder.width": 16, "labels": ["z"]},
        overrides=["encoder.norm.kind=rms", "steps=1e3"],
    )
    assert (found.encoder.width, found.encoder.heads, found.steps, found.labels) == (16, 2, 1000, ["z"])
    assert found.encoder.norm == Norm(kind="rms", epsilon=1e-6)  # the rest of the field's default, not of the class's
    assert found.optimizer == Adam(lr=0.5, betas=(0.8, 0.9))
    assert settings() == Settings()


def test_layers_may_hold_models():
    found = settings({"encoder": Stack(width=8)}, overrides=["encoder.heads=2"])
    assert found.encoder == Stack(width=8, heads=2)


def test_a_changed_variant_drops_the_keys_of_the_other():
    base = {"optimizer": {"name": "adam", "lr": 0.5, "betas": [0.1, 0.2]}, "name": "first", "seed": 3}
    found = settings(base, overrides=["optimizer.momentum=0.9", "optimizer.name=sgd", "name=second"])
    assert found.optimizer == Sgd(momentum=0.9)
    assert (found.name, found.seed) == ("second", 3)  # at the top a name is a name
    assert settings(base, overrides=["optimizer.name=adam"]).optimizer == Adam(lr=0.5, betas=(0.1, 0.2))
    assert settings(overrides=["optimizer.name=sgd"]).optimizer == Sgd()
    assert settings(base, {"optimizer.name": "sgd", "optimizer.lr": 1}).optimizer == Sgd(lr=1)


def test_append_to_a_list():
    base = {"labels": ["a"], "others": [{"name": "adam"}]}
    found = settings(base, overrides=["labels+=b", "labels+=[c, d]", "others+={name: sgd, lr: 3}"])
    assert found.labels == ["a", "b", "c", "d"]
    assert found.others == [Adam(), Sgd(lr=3)]
    assert base["labels"] == ["a"]
    assert settings(base, overrides=["labels+=b", "labels=[x]"]).labels == ["x", "b"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("null", None), ("true", True), ("no", "no"), ("3", 3), ("-3", -3), ("010", 10), ("1e-3", 1e-3),
        (".5", 0.5), ("12:30", "12:30"), ("2020-01-01", "2020-01-01"), ("books/*.txt", "books/*.txt"), ("*.txt", "*.txt"),
        ("@x.json", "@x.json"), ("a: b", "a: b"), ("a #b", "a #b"), ('"3"', "3"), ("[1, b, [2.5]]", [1, "b", [2.5]]),
        ("{a: 1, b: no}", {"a": 1, "b": "no"}), ("a=b", "a=b"), ("9" * 5000, "9" * 5000), ("- x", "- x"),
    ],
)  # fmt: skip
def test_values_of_overrides(text, value):
    found = merge(overrides=[f"a.b={text}"])["a"]["b"]
    assert found == value
    assert type(found) is type(value)


BAD = [
    (["seed"], "'seed' is no override; write key=value, for example training.steps=300"),
    (["encoder..width=3"], "'encoder..width=3' is no override"),
    (["=3"], "'=3' is no override"),
    (["labels=[a"], "the value of 'labels' is no YAML: '[a'; expected ',' or ']', but got '<stream end>'"),
    (["labels=[*a]"], "the value of 'labels' is no YAML: '[*a]'; found undefined alias 'a'"),
    (["labels=" + "[" * 600], "it is nested too deeply"),
    (["labels+=b"], "labels+=b appends to a list, and 'labels' is None; write labels=[...] to set one"),
    (["seeds=3"], "there is no setting 'seeds' (did you mean 'seed'?); settings are: 'name', 'encoder', 'optimizer', "),
    (["lr=3"], "there is no setting 'lr' (did you mean 'optimizer.lr'?); settings are: "),
    (["momentun=3"], "there is no setting 'momentun' (did you mean 'optimizer.momentum'?)"),
    (["qqqqqq=3"], "there is no setting 'qqqqqq'; settings are: "),
    (
        ["encoder.norm.kid=rms"],
        "no setting 'encoder.norm.kid' (did you mean 'kind'?); 'encoder.norm' has: 'kind', 'epsilon'",
    ),
    (
        ["optimizer.momentum=1"],
        "'optimizer.momentum' (it belongs to name=sgd or momentum); 'optimizer' has: 'name', 'lr', 'b",
    ),
    (["optimizer.name=sgdd"], "'optimizer.name' is 'sgdd' (did you mean 'sgd'?); possible: 'adam', 'sgd', 'momentum'"),
    (["others=[{lr: 3}]"], "'others.0.name' is missing; possible: 'adam', 'sgd', 'momentum'"),
    (["others=[{name: sgd, lr: x}]"], "'others.0.lr' is 'x'; it should be a valid number"),
    (
        ["others=[{name: sgd, beta: x}]"],
        "there is no setting 'others.0.beta' (did you mean 'optimizer.betas'?); 'others.0' has",
    ),
    (["optimizer=sgd"], "'optimizer' is 'sgd'; to choose it, write optimizer.name=sgd"),
    (["encoder=3"], "'encoder' is 3; it takes the settings 'width', 'heads', 'norm'"),
    (["encoder.width=0"], "'encoder.width' is 0; it should be greater than or equal to 1"),
    (["encoder.width=7"], "'encoder': width 7 is not divisible by 4 heads"),
    (
        ["encoder.norm.kind=lyer"],
        "'encoder.norm.kind' is 'lyer' (did you mean 'layer'?); it should be 'layer' or 'rms'",
    ),
    (["steps=aut"], "'steps' is 'aut' (did you mean 'auto'?); it should be a valid integer or it should be 'auto'"),
    (["optimizer.betas=[1]"], "'optimizer.betas.1' is missing"),
    (["seed=x", "sed=1", "steps=x"], "there is no setting 'sed' (did you mean 'seed'?)"),
]


@pytest.mark.parametrize(("overrides", "message"), BAD, ids=[case[0][0][:30] for case in BAD])
def test_what_is_wrong_is_said_in_one_line(overrides, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        settings(overrides=overrides)
    assert "\n" not in str(error.value)
    assert type(error.value) is ValueError


def test_other_wrong_keys_are_counted():
    with pytest.raises(ValueError, match=r"\(and 2 more\)$"):
        settings(overrides=["seed=x", "sed=1", "steps=x"])


def test_a_validator_of_the_whole_has_no_key():
    with pytest.raises(ValueError, match=r"^width 7 is not"):
        validated(Stack, {"width": 7})


def test_a_missing_setting():
    model = create_model("Needs", __base__=Frozen, data=(str, ...))
    with pytest.raises(ValueError, match="'data' is missing"):
        validated(model, {})


def test_a_model_inside_itself_is_searched_once():
    class Tree(Frozen):
        children: list[Tree] = []
        colour: str = ""

    with pytest.raises(ValueError, match=re.escape("there is no setting 'children.0.color' (did you mean 'colour'?)")):
        validated(Tree, {"children": [{"color": "red"}]})


def test_read_a_yaml_file(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("optimizer: {name: sgd, lr: 1e-2}\nlabels: [no, 2020-01-01]\n")
    found = settings(read(path), overrides=["labels+=yes"])
    assert found.optimizer == Sgd(lr=0.01)
    assert found.labels == ["no", "2020-01-01", "yes"]
    path.write_text("# nothing yet\n")
    assert read(path) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "x.yaml' are no YAML: expected ',' or ']', but got '<stream end>' at line 1"),
        ("a: 1\nb: 2\na: 3", "are no YAML: the key 'a' occurs twice at line 1"),
        ("- a", "x.yaml' must hold a mapping of settings, such as 'training: {steps: 300}'"),
        ("3: a", "must hold a mapping of settings"),
        ("a: !!python/object/apply:os.getcwd []", "are no YAML: could not determine a constructor"),
        ("a: \xff".encode("latin-1"), "are no YAML"),
        ("{" * 600, "it is nested too deeply"),
    ],
)
def test_a_bad_yaml_file(tmp_path, text, message):
    path = tmp_path / "x.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        read(path)
    assert "\n" not in str(error.value)


def test_a_missing_yaml_file(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read the settings in .*no\.yaml': No such file"):
        read(tmp_path / "no.yaml")


def test_parse_says_which_key():
    with pytest.raises(ValueError, match="the value of 'here' is no YAML"):
        parse("{", "here")
