"""From a model to a checkpoint folder that the home library loads.

* A model that was read from such a folder goes back with the same keys, types and settings.
* One trained here is written by the first family that can express it; what none can express is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from anyformer import durable, plugins
from anyformer.artifact import Artifact, unique_tensors
from anyformer.description import validated
from anyformer.families import family as families
from anyformer.families import fields, files
from anyformer.families.family import Architecture, Family
from anyformer.families.reading import full_name
from anyformer.families.steps import Step
from anyformer.nn import config
from anyformer.task import Task, Tokenizer


@dataclass(frozen=True)
class Written:
    """What an export wrote."""

    family: str
    architecture: str
    has_tokenizer: bool
    """False where the tokenizer has no files that another library reads."""


@dataclass(frozen=True)
class Layout:
    """A family and an architecture of it that can express a model, and the configuration that does."""

    id: str
    name: str
    family: Family
    architecture: Architecture
    theirs: dict[str, Any]
    origin: dict[str, Any] | None
    """Where the model came from, if it was from this very layout."""

    def table(self) -> Sequence[Step]:
        """The steps of its weights."""
        own = self.family.prefix if self.architecture.prefixed else ""
        prefix = self.origin["prefix"] if self.origin else own
        return families.whole_table(self.family, self.architecture, {**self.family.assumed, **self.theirs}, prefix)


def write(artifact: Artifact, folder: Path, component: str, family: str | None = None) -> Written:
    """Write one component of a model, with its trunk, as a checkpoint folder.

    Args:
        artifact: the model.
        folder: new or empty.
        component: id of the task.
        family: id of the layout; None: the one the model came from, or the first that can express it.

    Raises `ValueError` where none can, saying what stands in the way.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there and not empty; give a new folder")
    task = artifact.model[component].task
    if not isinstance(task, Task):
        raise ValueError(f"{component!r} is a pretraining objective; fine-tune it for a task first, then export that")
    layout = choose(artifact, component, task, family)
    tensors = _tensors(artifact, component, layout)
    tokenizer = _tokenizer(task)
    has_tokenizer = False
    with durable.whole(folder) as aside:
        (aside / files.CONFIG).write_text(json.dumps(layout.theirs, indent=2, ensure_ascii=False) + "\n", "utf-8")
        files.write_weights(tensors, aside)
        if tokenizer is not None:
            has_tokenizer = tokenizer.write(aside)
    return Written(layout.id, layout.name, has_tokenizer)


def _tokenizer(task: Task[Any, Any, Any]) -> Tokenizer | None:
    """The tokenizer of a task, where it has one alone."""
    own = list({id(tokenizer): tokenizer for tokenizer in task.tokens.values()}.values())
    return own[0] if len(own) == 1 else None


def choose(artifact: Artifact, component: str, task: Task[Any, Any, Any], asked: str | None) -> Layout:
    """The layout that `write` takes. Raises `ValueError` where none can express the model, with what stands in the way."""
    known = plugins.families()
    if asked is not None and asked not in known:
        raise ValueError(f"unknown family {asked!r}; there are: {families.known(known)}")
    origin = _origin(artifact, component, known)
    ids = [asked] if asked is not None else [origin["family"]] if origin else list(known)
    refusals: dict[str, str] = {}
    for id in ids:
        own = origin if origin and origin["family"] == id else None
        for name, architecture in known[id].served():
            if architecture.task != component or (own and name != own["architecture"]):
                continue
            try:
                theirs = _express(known[id], name, architecture, artifact.trunk, task, own["config"] if own else None)
                layout = Layout(id, name, known[id], architecture, theirs, own)
                _tensors(artifact, component, layout)
                return layout
            except ValueError as error:
                refusals.setdefault(id, str(error))
    if not refusals:
        raise ValueError(f"no family has a head for {component}; the families are: {families.known(known)}")
    said = "; ".join(f"{id}: {reason}" for id, reason in refusals.items())
    raise ValueError(f"no family can express this model: {said}")


def _origin(artifact: Artifact, component: str, known: Mapping[str, Family]) -> dict[str, Any] | None:
    """Where the model came from, if its file's own class serves this component."""
    origin: dict[str, Any] | None = artifact.info.get("origin")
    if origin is None or origin["family"] not in known:
        return None
    own = (architecture for name, architecture in known[origin["family"]].served() if name == origin["architecture"])
    return origin if any(architecture.task == component for architecture in own) else None


def _express(
    family: Family, name: str, architecture: Architecture, trunk: config.Trunk, task: Task[Any, Any, Any],
    base: Mapping[str, Any] | None,
) -> dict[str, Any]:  # fmt: skip
    """The configuration that means this model. Raises `ValueError` naming what the family cannot express."""
    ours: fields.Ours = {
        "trunk": trunk.in_full.model_dump(), "config": task.config.model_dump(), "state": task.state,
        "tokenizer": _about(_tokenizer(task)),
    }  # fmt: skip
    rows = [*family.fields, *architecture.fields]
    if base is not None and _obstacle(rows, ours, {**family.assumed, **base}) is None:
        return dict(base)
    match = {key: value[0] if isinstance(value, tuple) else value for key, value in family.match.items()}
    theirs = {"architectures": [name], **match, **(base or {}), **fields.write(rows, ours)}
    if obstacle := _obstacle(rows, ours, {**family.assumed, **theirs}):
        raise ValueError(obstacle)
    return theirs


def _about(tokenizer: Tokenizer | None) -> dict[str, Any]:
    """What a configuration says of a tokenizer."""
    if tokenizer is None:
        return {}
    ids = {name: getattr(tokenizer, name, None) for name in ("start_id", "end_id", "mask_id", "pad_id")}
    return {**tokenizer.config.model_dump(), "vocabulary_size": tokenizer.vocabulary_size, **ids}


def _obstacle(rows: Sequence[fields.Row], ours: fields.Ours, theirs: fields.Theirs) -> str | None:
    """The first thing of ours that their configuration does not mean; None if it means all."""
    meant = fields.read(rows, theirs)
    trunk = validated(config.Trunk, meant["trunk"], "trunk").in_full.model_dump()
    wrong = fields.difference(ours["trunk"], trunk, "trunk") or fields.difference(
        meant["config"], ours["config"], "config"
    )
    for name, value in meant["state"].items():
        if wrong is None and ours["state"].get(name) != value:
            wrong = f"the task's {name} is not what the family means"
    return wrong


def _tensors(artifact: Artifact, component: str, layout: Layout) -> dict[str, Tensor]:
    """The weights under the file's keys. Raises `ValueError` naming one that the layout has no place for."""
    origin = layout.origin
    own = {name: tensor.detach().cpu() for name, tensor in artifact.model.state_dict(keep_vars=True).items()}
    left = {
        name for name in unique_tensors(artifact.model)
        if name.startswith(("trunk.", f"components.{component}."))
    }  # fmt: skip
    spelling = {now: (key, dtype) for key, (now, dtype) in origin["weights"].items()} if origin else {}
    found: dict[str, Tensor] = {}
    for step in layout.table():
        names = [full_name(name, component) for name in step.ours]
        if absent := [name for name in names if name not in own]:
            raise ValueError(f"the model has no weight {absent[0].rpartition(f'{component}.')[2]!r}")
        if step.kind == "weight":
            left.difference_update(names)
        elif step.kind == "kept" or not (step.new if origin is None else all(key in spelling for key in step.theirs)):
            continue
        tensors = step.write([own[name] for name in names])
        # Safetensors writes no memory twice: a copy has its own.
        copies = [tensor.clone() for tensor in tensors] if step.kind == "tied" else tensors
        found.update(zip(step.theirs, copies, strict=True))
    if left:
        raise ValueError(f"it has no place for the weight {min(left).rpartition(f'{component}.')[2]!r}")
    if origin:
        found |= artifact.kept
        found = {key: found[now].to(files.FLOATS.get(dtype)) for now, (key, dtype) in spelling.items()}
    return found
