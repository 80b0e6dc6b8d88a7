"""From settings and records to a model that can start to learn: tokenizers fitted, state learned, weights drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from anyformer import plugins
from anyformer.artifact import Artifact, Bound, build_model, tokenizers_of
from anyformer.data import at_hand
from anyformer.data.packs import collate
from anyformer.hints import did_you_mean
from anyformer.nn.config import Trunk
from anyformer.objectives import OBJECTIVES, raw_item
from anyformer.settings import merge
from anyformer.task import Objective, Sample, Task, Tokenizer, resolve
from anyformer.train.settings import Settings, settings_for

CHECKED = 10_000
"""Records prepared once before a run begins, evenly spread, so that bad data is found before anything is written."""


def task_settings(
    task: type[Task[Any, Any, Any]], layers: Sequence[Mapping[str, Any]], overrides: Sequence[str] = (),
    trunk: Trunk | None = None,
) -> Settings:  # fmt: skip
    """The settings of a run of `task`: its own defaults (or a given trunk), then `layers`, then `key=value` overrides."""
    defaults = _defaults(task, trunk, layers, overrides)
    # The id of a tokenizer decides which configuration it has, so it is read before the rest is validated.
    chosen = _chosen_ids(task.tokenizers, layers, overrides)
    classes = {
        name: plugins.tokenizer(chosen[name]) if name in chosen else resolve(reference)
        for name, reference in task.tokenizers.items()
    }
    configs = {name: kind.Config for name, kind in classes.items()}
    return settings_for(task.Config, configs, defaults, *layers, overrides=overrides)


def objective_settings(
    name: str, tokenizer: type[Tokenizer], layers: Sequence[Mapping[str, Any]], overrides: Sequence[str] = (),
    trunk: Trunk | None = None,
) -> Settings:  # fmt: skip
    """The settings of pretraining with the objective `name`. Raises `ValueError` for an unknown one."""
    objective = objective_named(name)
    defaults = _defaults(objective, trunk, layers, overrides)
    configs = {"tokenizer": tokenizer.Config}
    return settings_for(objective.Config, configs, defaults, *layers, overrides=overrides)


def objective_named(name: str) -> type[Objective]:
    """The class of an objective. Raises `ValueError` that lists them for an unknown one."""
    if name not in OBJECTIVES:
        near = did_you_mean(name, OBJECTIVES)
        raise ValueError(f"unknown objective {name!r}{near}; there are: {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]


def _defaults(
    kind: type[Task[Any, Any, Any]] | type[Objective], trunk: Trunk | None, layers: Sequence[Mapping[str, Any]],
    overrides: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """What the kind sets, below what is given: its number of steps makes way for a number of epochs."""
    chosen = kind.default_trunk if trunk is None else trunk.model_dump()
    training, asked = dict(kind.default_training), merge(*layers, overrides=overrides).get("training")
    if isinstance(asked, Mapping) and asked.get("epochs") is not None and asked.get("steps") is None:
        training.pop("steps", None)
    return {"trunk": dict(chosen), "training": training}


def _chosen_ids(
    names: Mapping[str, str], layers: Sequence[Mapping[str, Any]], overrides: Sequence[str]
) -> dict[str, str]:
    given = merge(*layers, overrides=overrides).get("tokenizers")
    entries = {name: given.get(name) for name in names} if isinstance(given, Mapping) else {}
    chosen = {name: entry.get("id") for name, entry in entries.items() if isinstance(entry, Mapping)}
    return {name: id for name, id in chosen.items() if isinstance(id, str)}


def new_task(
    task: type[Task[Any, Any, Any]], settings: Settings, raw: Sequence[Any], start: Artifact | None, id: str = ""
) -> Task[Any, Any, Any]:
    """A bound task: its tokenizers taken from `start` where they are of the same kind, else fitted; its state learned.

    Where several components of `start` have such a tokenizer, that of the one called `id` is taken first.
    """
    tokenizers: dict[str, Tokenizer] = {}
    unfitted = []
    for name, reference in task.tokenizers.items():
        config = getattr(settings.tokenizers, name)
        kind = plugins.tokenizer(config.id) if config.id else resolve(reference)
        found = _fitted(start, id, kind, config, f"tokenizers.{name}")
        if found is None:
            found = kind(config)
            found.registered_id = plugins.tokenizer_id(config.id) if config.id else None
            unfitted.append(name)
        tokenizers[name] = found
    bound = task(settings.config, tokenizers)
    records = bound.records(raw)
    if not len(records):
        raise ValueError("the training data has no records")
    rng = np.random.default_rng(settings.training.seed)
    for name in unfitted:
        tokenizers[name].fit(bound.corpus(name, records), rng)
    bound.state = bound.fit(records)
    return bound


def new_objective(
    name: str, tokenizer_id: str, settings: Settings, raw: Sequence[Any], start: Artifact | None, id: str = ""
) -> Objective:
    """A bound objective: its tokenizer taken from `start` as `new_task` does, else fitted on the raw items."""
    kind = plugins.tokenizer(tokenizer_id)
    config = settings.tokenizers.tokenizer
    tokenizer = _fitted(start, id, kind, config, "tokenizers.tokenizer")
    if tokenizer is None:
        tokenizer = kind(config)
        tokenizer.fit((raw_item(row) for row in raw), np.random.default_rng(settings.training.seed))
    tokenizer.registered_id = tokenizer_id
    return OBJECTIVES[name](settings.config, tokenizer)


def _fitted(start: Artifact | None, id: str, kind: type[Tokenizer], config: Any, where: str) -> Tokenizer | None:
    """A tokenizer of this kind from the model that a run starts from, first from its component of the same id.

    Raises `ValueError` if the settings ask for another configuration than it has.
    """
    if start is None:
        return None
    for component in sorted(start.model.components, key=lambda component: component != id):
        for tokenizer in tokenizers_of(start.model[component].task).values():
            if type(tokenizer) is kind:
                for field, declared in kind.Config.model_fields.items():
                    asked, fixed = getattr(config, field), getattr(tokenizer.config, field)
                    if asked != fixed and asked != declared.get_default(call_default_factory=True):
                        raise ValueError(
                            f"'{where}.{field}' is {asked!r}, but the tokenizer of the model to start from has {fixed!r} "
                            "and is taken over as it is; leave the setting out"
                        )
                return tokenizer
    return None


def new_model(tasks: Mapping[str, Bound], settings: Settings, start: Artifact | None) -> tuple[Artifact, list[str]]:
    """A model with a component for each task, and a line for each thing that was taken from `start` or drawn anew."""
    torch.manual_seed(settings.training.seed)
    artifact = Artifact(build_model(settings.trunk, tasks), settings.trunk)
    if start is None:
        return artifact, []
    artifact.model.trunk.load_state_dict(start.model.trunk.state_dict())
    said = ["trunk: taken over"]
    for id in tasks:
        of = f" of {id}" if len(tasks) > 1 else ""
        said += [f"{part}{of}: {how}" for part, how in _take_over(artifact, id, start).items()]
    return artifact, said


def _take_over(artifact: Artifact, id: str, start: Artifact) -> dict[str, str]:
    """Copy embedding and head from the model a run starts from, where they fit; says what was done with each."""
    own = artifact.model[id]
    said = {}
    for part in ("embedding", "head"):
        target = getattr(own, part)
        shapes = {name: tensor.shape for name, tensor in target.state_dict().items()}
        said[part] = "new"
        for other in _relatives(start, id, own.task):
            source = getattr(start.model[other], part).state_dict()
            if {name: tensor.shape for name, tensor in source.items()} == shapes:
                target.load_state_dict(source)
                said[part] = f"taken over from {other}"
                break
    return said


def _relatives(start: Artifact, id: str, task: Any) -> list[str]:
    """The start's components that one may take weights from, the nearest first: of several, its namesake and those whose
    tokenizer it has taken over; the others speak of other data, even where their shapes are the same."""
    ids = sorted(start.model.components, key=lambda other: other != id)
    if len(ids) == 1:
        return ids
    mine = [*tokenizers_of(task).values()]
    shared = {other for other in ids for one in tokenizers_of(start.model[other].task).values() if one in mine}
    return [other for other in ids if other == id or other in shared]


class Lengths(NamedTuple):
    """How long records are."""

    mean: float
    """Tokens of a record."""
    longest: list[Any]
    """For each part, the record in which it is longest."""


def check_records(bound: Bound, records: Sequence[Any], seed: int) -> Lengths:
    """Prepare records once, as training will.

    Raises `ValueError` for the first that cannot be used, so that nothing has been written by then.
    """
    records = at_hand(records)
    spread = np.unique(np.linspace(0, len(records) - 1, min(CHECKED, len(records))).astype(int))
    rng = np.random.default_rng(seed)
    total = 0
    longest: dict[str, tuple[int, int]] = {}
    for index in spread.tolist():
        record = records[index]
        try:
            samples: list[Sample] = bound.learn(record, rng)
        except ValueError as error:
            raise ValueError(f"record {index + 1}: {error}") from None
        for sample in samples:
            total += sample.cost
            for name, part in sample.parts.items():
                longest[name] = max(longest.get(name, (0, 0)), (len(part), index))
    if not total:
        raise ValueError("there is nothing to learn from: no record gives a token")
    return Lengths(total / len(spread), [records[index] for _, index in sorted(set(longest.values()))])


def try_out(artifact: Artifact, id: str, records: Sequence[Any], seed: int) -> None:
    """Send records through a new model, as training and as inference will.

    Raises `ValueError` for one that the model cannot take, such as one that is too long for its positions.
    """
    model = artifact.model.eval()
    task = model[id].task
    with torch.inference_mode():
        for record in records:
            for sample in task.learn(record, np.random.default_rng(seed)):
                model(*collate([sample]), id)
            if isinstance(task, Task):
                for sample in task.encode(record.input, task.Options()):
                    model[id].embedding(collate([sample])[0])
