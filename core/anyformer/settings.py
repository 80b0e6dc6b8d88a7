"""Settings from defaults, a YAML file and `key=value` overrides, merged into one validation.

* Layers are nested mappings, or keys with dots; later ones win. Lists are replaced, unless an override says `key+=value`.
* `name` below the top level says which variant of a union is meant. Where a layer changes it, what lower layers set there
  belonged to the other variant and is dropped.
* A value that sets part of a field with a default keeps the rest of that default.
* YAML is read by its 1.2 rules: `no` is text, `1e-3` is a number, `12:30` is text. A plain word needs no quotes.
* Every error is one line: the dotted key, what was given, what is possible.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from anyformer.hints import quoted
from anyformer.settings_errors import VARIANT, chosen, explained, models_of

ModelT = TypeVar("ModelT", bound=BaseModel)


def merge(*layers: Mapping[str, Any], overrides: Sequence[str] = ()) -> dict[str, Any]:
    """All layers, lowest first, and then the overrides, as one nested dict.

    Raises `ValueError` for an override that is none, and for `+=` to what is no list.
    """
    merged: dict[str, Any] = {}
    sets: list[tuple[str, Any]] = []
    appends: list[tuple[str, Any]] = []
    for override in overrides:
        found = re.fullmatch(r"(?P<key>[^=\s]+?)(?P<plus>\+?)=(?P<text>.*)", override, re.DOTALL)
        if found is None or "" in found["key"].split("."):
            raise ValueError(f"{override!r} is no override; write key=value, for example training.steps=300")
        (appends if found["plus"] else sets).append((found["key"], parse(found["text"], found["key"])))
    together: dict[str, Any] = {}
    for key, value in sets:
        together = _over(together, _nested({key: value}))
    for layer in (*layers, together):
        merged = _over(merged, _nested(layer))
    for key, value in appends:
        _append(merged, key, value)
    return merged


def read(path: Path) -> dict[str, Any]:
    """The settings of a YAML file; raises `ValueError` if it is no mapping of names."""
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise ValueError(f"cannot read the settings in {str(path)!r}: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"the settings in {str(path)!r} are no YAML: {_problem(error)}") from None
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ValueError(f"{str(path)!r} must hold a mapping of settings, such as 'training: {{steps: 300}}'")
    return found


def parse(text: str, key: str = "value") -> Any:
    """The value of an override: null, a boolean, a number, a list or mapping in brackets, else the text as it is."""
    bracketed = text.lstrip()[:1] in ("[", "{", '"', "'")
    try:
        value = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if bracketed:
            raise ValueError(f"the value of {key!r} is no YAML: {quoted(text)}; {_problem(error)}") from None
        return text
    return text if isinstance(value, str | list | dict) and not bracketed else value


def validated(model: type[ModelT], values: Mapping[str, Any]) -> ModelT:
    """The model made from merged settings. Raises `ValueError` for an unknown key or a wrong value."""
    completed = _completed(model, values)
    try:
        return model.model_validate(completed)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    raise ValueError(explained(model, completed, problems))


def _nested(layer: Any) -> Any:
    """A layer with models as dicts, and keys with dots as dicts in dicts."""
    if isinstance(layer, BaseModel):
        return layer.model_dump()
    if not isinstance(layer, Mapping):
        return layer
    nested: dict[str, Any] = {}
    for key, value in layer.items():
        inner = _nested(value)
        first, *steps = key.split(".") if isinstance(key, str) else [key]
        for step in reversed(steps):
            inner = {step: inner}
        nested = _over(nested, {first: inner})
    return nested


def _over(lower: Mapping[str, Any], upper: Mapping[str, Any], top: bool = True) -> dict[str, Any]:
    """`upper` laid over `lower`."""
    if not top and VARIANT in upper and VARIANT in lower and upper[VARIANT] != lower[VARIANT]:
        return dict(upper)
    merged = dict(lower)
    for key, value in upper.items():
        both = isinstance(value, Mapping) and isinstance(lower.get(key), Mapping)
        merged[key] = _over(lower[key], value, top=False) if both else value
    return merged


def _append(merged: dict[str, Any], key: str, value: Any) -> None:
    *steps, last = key.split(".")
    level: Any = merged
    for step in steps:
        level = level.get(step) if isinstance(level, Mapping) else None
    found = level.get(last) if isinstance(level, dict) else None
    if not isinstance(found, list | tuple):
        raise ValueError(
            f"{key}+={value} appends to a list, and {key!r} is {quoted(found)}; write {key}=[...] to set one"
        )
    level[last] = [*found, *(value if isinstance(value, list) else [value])]


def _completed(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the rest of each default that they set in part, the variant of a union included."""
    completed = dict(values)
    for name, field in model.model_fields.items():
        given = completed.get(name)
        if isinstance(given, Mapping):
            if isinstance(field.default, BaseModel):
                given = _over(field.default.model_dump(), given, top=False)
            variants = chosen(list(models_of(field.annotation)), given)
            completed[name] = _completed(variants[0], given) if len(variants) == 1 else given
    return completed


def _problem(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    mark = getattr(error, "problem_mark", None)
    return " ".join(str(getattr(error, "problem", None) or error).split()) + (
        f" at line {mark.line + 1}" if mark else ""
    )


class _Loader(yaml.SafeLoader):
    """YAML with the scalars of its version 1.2, and without keys that occur twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """As the base does, after a look for equal keys."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key!r} occurs twice", problem_mark=node.start_mark
                )
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?[0-9]+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|[-+]?\.inf$|\.nan$"),
    list("-+.0123456789"),
)


def _decimal(loader: yaml.SafeLoader, node: Any) -> int:
    """A whole number in decimal: 010 is ten, not eight."""
    return int(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _decimal)
