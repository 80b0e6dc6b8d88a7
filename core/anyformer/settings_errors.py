"""What is wrong with settings, in one line: the dotted key, what was given, what is possible, what was probably meant.

* A model is walked by the types of its fields, through unions, lists and annotations, so models made at run time are no
  special case.
* Where a value says which variant of a union it is, only that variant's keys are its keys.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from anyformer.hints import did_you_mean, listed, quoted

VARIANT = "name"
"""The field that says which variant of a union is meant."""


def explained(model: type[BaseModel], values: Mapping[str, Any], problems: Sequence[ErrorDetails]) -> str:
    """The first problem in one line, and how many other keys have one.

    An unknown key is told first: it is often the misspelt one that another problem misses.
    """
    problems = sorted(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    others = len({tuple(_path(values, problem)) for problem in problems}) - 1
    return _first(model, values, problems) + (f" (and {others} more)" if others else "")


def _first(model: type[BaseModel], values: Mapping[str, Any], problems: Sequence[ErrorDetails]) -> str:
    """The first problem; the others at the same key are what a plain union's other members wanted."""
    kind, given = problems[0]["type"], problems[0]["input"]
    path = _path(values, problems[0])
    key = ".".join(path)
    models, variants = _level(model, values, path)
    if kind == "extra_forbidden":
        *parent, name = path
        models, variants = _level(model, values, parent)
        where = f"{'.'.join(parent)!r} has" if parent else "settings are"
        return f"there is no setting {key!r}{_meant(model, name, models, variants)}; {where}: {listed(_fields(models), 50)}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tags = [tag for variant in variants for tag in _tags(variant)]
        tag = given.get(VARIANT) if isinstance(given, Mapping) else None
        close = did_you_mean(str(tag), map(str, tags))
        said = f"is {quoted(tag)}{close}" if tag is not None else "is missing"
        return f"{key + '.' + VARIANT!r} {said}; possible: {listed(tags)}"
    if kind == "missing":
        return f"{key!r} is missing"
    if kind in ("model_type", "model_attributes_type") and models:
        if any(given in _tags(variant) for variant in variants):
            return f"{key!r} is {quoted(given)}; to choose it, write {key}.{VARIANT}={given}"
        return f"{key!r} is {quoted(given)}; it takes the settings {listed(_fields(models), 50)}"
    if kind in ("value_error", "assertion_error"):
        return (f"{key!r}: " if key else "") + problems[0]["msg"].partition(", ")[2]
    here = [problem for problem in problems if _path(values, problem) == path]
    wanted = " or ".join(dict.fromkeys(_wanted(problem) for problem in here))
    choices = re.findall(r"'([^']*)'", " ".join(str(problem.get("ctx", {}).get("expected", "")) for problem in here))
    return f"{key!r} is {quoted(given)}{did_you_mean(str(given), choices)}; {wanted}"


def _wanted(problem: ErrorDetails) -> str:
    """What pydantic says is allowed."""
    message = problem["msg"].partition(", unable to parse")[0].removesuffix(" after validation, not 0")
    if message.startswith("Tuple should have"):
        return f"it {message[len('Tuple ') :]}"
    return f"it {message[len('Input ') :]}" if message.startswith("Input ") else message


def _path(values: Any, problem: ErrorDetails) -> list[str]:
    """The keys that lead to a problem: its location without the names of union members, which no user wrote."""
    path = []
    for step in problem["loc"]:
        if isinstance(values, Mapping) and step in values:
            values = values[str(step)]
        elif isinstance(values, list | tuple) and isinstance(step, int) and step < len(values):
            values = values[step]
        elif problem["type"] != "missing" or step != problem["loc"][-1]:
            continue
        path.append(str(step))
    return path


def _level(
    model: type[BaseModel], values: Any, path: Sequence[str]
) -> tuple[list[type[BaseModel]], list[type[BaseModel]]]:
    """The models that a value at `path` may be, and, if it is a union, all its variants."""
    models = variants = [model]
    for step in path:
        fields = [owner.model_fields[step] for owner in models if step in owner.model_fields]
        if fields:
            variants = [found for field in fields for found in models_of(field.annotation)]
        if isinstance(values, Mapping):
            values = values.get(step)
        elif isinstance(values, list | tuple):
            values = values[int(step)] if int(step) < len(values) else None
        models = chosen(variants, values)
    return models, variants


def _fields(models: Sequence[type[BaseModel]]) -> list[str]:
    return list(dict.fromkeys(name for model in models for name in model.model_fields))


def _meant(
    model: type[BaseModel], name: str, models: Sequence[type[BaseModel]], variants: Sequence[type[BaseModel]]
) -> str:
    """Where an unknown key belongs: another variant, the same name elsewhere, or a similar one beside it or elsewhere."""
    owners = [tag for variant in variants if name in variant.model_fields for tag in _tags(variant)]
    if owners:
        return f" (it belongs to {VARIANT}={' or '.join(map(str, owners))})"
    paths = list(_paths(model))
    ends = {path.rpartition(".")[2]: path for path in reversed(paths)}
    if name not in ends and (beside := did_you_mean(name, _fields(models))):
        return beside
    close = name if name in ends else next(iter(difflib.get_close_matches(name, ends, n=1)), None)
    return f" (did you mean {ends[close]!r}?)" if close else ""


def _paths(model: type[BaseModel], above: tuple[type[BaseModel], ...] = ()) -> Iterator[str]:
    """Every dotted key of a model, nearest first; a model inside itself is entered once."""
    for name in model.model_fields:
        yield name
    for name, field in model.model_fields.items():
        for inner in models_of(field.annotation):
            if inner not in (*above, model):
                yield from (f"{name}.{path}" for path in _paths(inner, (*above, model)))


def models_of(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a type is made of, through unions, lists and annotations."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_of(part)


def chosen(models: list[type[BaseModel]], given: Any) -> list[type[BaseModel]]:
    """Those of the models whose variant was given, or all of them."""
    tag = given.get(VARIANT) if isinstance(given, Mapping) else None
    return [model for model in models if tag in _tags(model)] or models


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    return get_args(model.model_fields[VARIANT].annotation) if VARIANT in model.model_fields else ()
