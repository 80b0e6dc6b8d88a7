"""A mixture: several tasks and objectives, of any domains, that are learned together on one trunk.

```yaml
mixture:
  - task: weather/rain-tomorrow       # a task learns from its targets,
    data: stations.jsonl
    weight: 2                         # and is given twice the share of what has a weight of 1
    config: {horizon: 3}
  - objective: masked-token           # an objective from the data alone
    tokenizer: weather/codes
    data: reports/*.txt
trunk: {encoder: {width: 256}}
training: {steps: 500}
```

* A part has `data`, `valid`, `columns`, `config` and `tokenizers` as a run of its own has them; `trunk` and `training` are
  shared.
* A task's component has the task's id; an objective's is called after its tokenizer too, `masked-token@weather/codes`.
* Without a trunk, the parts get a small one with the halves that they need. Its positions are rotary: they have no greatest
  length, they know gaps, and they suit ids and patches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from anyformer import plugins, starting
from anyformer.artifact import OVER, Artifact, Bound
from anyformer.data.dataset import Dataset
from anyformer.nn.config import Trunk
from anyformer.parts import Part
from anyformer.settings import merge, read, validated
from anyformer.starting import Asked, Beginning, Half, Kind
from anyformer.task import Frozen, Task
from anyformer.train.prepare import new_objective, new_task, objective_named, objective_settings, task_settings
from anyformer.train.settings import Settings

Given = Mapping[str, Any] | Sequence[Mapping[str, Any]] | str | Path
STACK = {"width": 128, "depth": 4, "attention": {"heads": 4}, "dropout": 0.1, "position": {"kind": "rotary"}}
FILES = (".yaml", ".yml")
_OVERRIDE = re.compile(r"mixture\.(?P<place>[^.=+]+)\.(?P<rest>.+)", re.DOTALL)


class Entry(Frozen):
    """A part as it is asked for."""

    task: str | None = None
    """Id of a task."""
    objective: str | None = None
    """Name of an objective instead."""
    tokenizer: str | None = None
    """Of the objective: id of a plugin's tokenizer."""
    data: Any
    valid: Any = None
    columns: Any = None
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Share of the loss, and of the records of a step, beside the weights of the others."""
    config: dict[str, Any] = {}
    tokenizers: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_kind(self) -> Entry:
        if (self.task is None) == (self.objective is None):
            raise ValueError("a part is a task or an objective; give one of 'task' and 'objective'")
        if self.task is not None and self.tokenizer is not None:
            raise ValueError("a task has tokenizers of its own; set them with 'tokenizers', and leave 'tokenizer' out")
        if self.objective is not None and self.tokenizer is None:
            raise ValueError("an objective needs a 'tokenizer', the id of a plugin's, for example nlp/bytes")
        return self


class Mixture(Frozen):
    """The whole file."""

    mixture: tuple[Entry, ...] = Field(min_length=2)
    trunk: dict[str, Any] = {}
    training: dict[str, Any] = {}


@dataclass(frozen=True)
class Learner:
    """A part before its data is opened."""

    place: int
    id: str
    kind: Kind
    entry: Entry

    @property
    def own(self) -> dict[str, Any]:
        """Its settings as they were given."""
        return {"config": self.entry.config, "tokenizers": self.entry.tokenizers}


@dataclass(frozen=True)
class Opened:
    """All that a run of a mixture needs."""

    parts: list[Part]
    settings: Settings
    begin: Beginning


def is_file(name: str) -> bool:
    """Whether a name is that of a mixture's file, and not of an objective."""
    return name.endswith(FILES)


def asked(given: Given, settings: Sequence[Mapping[str, Any]], overrides: Sequence[str]) -> Asked:
    """A mixture as a file, a mapping or a list of parts, with the settings above it."""
    if isinstance(given, str | Path):
        path = Path(given)
        given = read(path)
        if "mixture" not in given:
            raise ValueError(f"{str(path)!r} has no mixture; it must hold a list of parts under 'mixture'")
    first = given if isinstance(given, Mapping) else {"mixture": list(given)}
    return starting.asked([first, *settings], overrides)


def opened(given: Asked, start: Artifact | None, preset: str | None, trunk: Artifact | None) -> Opened:
    """Settle what each part learns with, then open its data, and learn its tokenizers and its state.

    Raises `ValueError` for a mixture that is none, naming the part.
    """
    page = _page(given)
    learners = [_learner(place, entry) for place, entry in enumerate(page.mixture)]
    _refuse_twice(learners)
    halves = {one.kind.trunk for one in learners}
    needs = next(iter(halves)) if len(halves) == 1 else "both"
    begins = [
        starting.beginning(one.id, one.kind, start, preset, trunk, Asked([one.own], (), None), needs)
        for one in learners
    ]
    first = begins[0]
    base = _default_trunk(halves) if first.trunk is None else first.trunk
    settings = validated(Settings, merge({"trunk": base}, {"trunk": page.trunk, "training": page.training}))
    chosen = []
    for one, begin in zip(learners, begins, strict=True):
        with _at(one.place):
            starting.check_trunk(one.id, one.kind.trunk, settings.trunk, begin.artifact)
            chosen.append(_settings(one, begin, settings))
    return Opened([_part(one, mine, first) for one, mine in zip(learners, chosen, strict=True)], settings, first)


def data_of(given: Asked) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the parts learn from and what they are scored on, as it was given, by id."""
    learners = [_learner(place, entry) for place, entry in enumerate(_page(given).mixture)]
    return {one.id: one.entry.data for one in learners}, {one.id: one.entry.valid for one in learners}


def _page(given: Asked) -> Mixture:
    """The mixture with its overrides: `mixture.0.config.x=3` is for the first part."""
    common, own = [], []
    for one in given.overrides:
        found = _OVERRIDE.fullmatch(one)
        common.append(one) if found is None else own.append(found)
    merged = merge(*given.layers, overrides=common)
    parts = merged.get("mixture")
    if isinstance(parts, Sequence) and all(isinstance(part, Mapping) for part in parts):
        parts = list(parts)
        for found in own:
            if not found["place"].isdigit() or int(found["place"]) >= len(parts):
                last = f"mixture.0 to mixture.{len(parts) - 1}" if parts else "none"
                raise ValueError(f"there is no part 'mixture.{found['place']}'; the parts are: {last}")
            place = int(found["place"])
            parts[place] = merge(parts[place], overrides=[found["rest"]])
        merged["mixture"] = parts
    return validated(Mixture, merged)


def _learner(place: int, entry: Entry) -> Learner:
    with _at(place):
        if entry.task is not None:
            id = plugins.task_id(entry.task)
            return Learner(place, id, plugins.task(id), entry)
        assert entry.objective is not None, "checked before"
        assert entry.tokenizer is not None, "checked before"
        id = f"{entry.objective}{OVER}{plugins.tokenizer_id(entry.tokenizer)}"
        return Learner(place, id, objective_named(entry.objective), entry)


def _refuse_twice(learners: Sequence[Learner]) -> None:
    places: dict[str, int] = {}
    for one in learners:
        if one.id in places:
            raise ValueError(
                f"mixture.{one.place}: {one.id} is mixture.{places[one.id]} already, and has one component; put the data of "
                "both into one part"
            )
        places[one.id] = one.place


def _default_trunk(halves: Set[Half]) -> Trunk:
    """What all parts need; the decoder reads the encoder where a part needs both."""
    decoder = {**STACK, "causal": True, "cross": "both" in halves}
    return Trunk.model_validate(
        {"encoder": STACK if halves != {"decoder"} else None, "decoder": decoder if halves != {"encoder"} else None}
    )


def _settings(one: Learner, begin: Beginning, shared: Settings) -> Settings:
    """A part's settings: its own configuration, and the trunk and the training of all."""
    layers = [*begin.layers, one.own, {"training": shared.training.model_dump()}]
    if issubclass(one.kind, Task):
        return task_settings(one.kind, layers, (), shared.trunk)
    objective, _, tokenizer = one.id.partition(OVER)
    return objective_settings(objective, plugins.tokenizer(tokenizer), layers, (), shared.trunk)


def _part(one: Learner, settings: Settings, begin: Beginning) -> Part:
    """Open a part's data, and learn its tokenizers and its state."""
    entry = one.entry
    with _at(one.place):
        temporal = getattr(one.kind, "temporal", False)
        data = Dataset.open(entry.data, entry.valid, entry.columns, settings.training.seed, temporal)
        if issubclass(one.kind, Task):
            bound: Bound = new_task(one.kind, settings, data.train, begin.artifact, one.id)
        else:
            objective, _, tokenizer = one.id.partition(OVER)
            bound = new_objective(objective, tokenizer, settings, data.train, begin.artifact, one.id)
    told = {
        "kind": "task" if entry.task is not None else "objective",
        "id": one.id,
        "weight": entry.weight,
        "settings": settings.model_dump(mode="json", include={"config", "tokenizers"}),
    }
    return Part(one.id, bound, data, entry.weight, told)


@contextmanager
def _at(place: int) -> Iterator[None]:
    """Says in front of an error which part it is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"mixture.{place}: {error}") from None
