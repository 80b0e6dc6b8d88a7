"""Families: what a checkpoint layout is made of, and which one a folder's `config.json` belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from anyformer.families.fields import Row, Theirs
from anyformer.families.steps import Step
from anyformer.hints import did_you_mean, listed

Table = Callable[[Theirs], Iterable[Step]]
"""From a checkpoint's configuration to the steps of its weights."""


def no_weights(theirs: Theirs) -> Iterable[Step]:
    """The table of a head without weights."""
    return ()


def always(theirs: Theirs) -> bool:
    """Whatever the configuration."""
    return True


@dataclass(frozen=True)
class Architecture:
    """A class of the home library: which task it serves, and what stands around the trunk."""

    task: str
    """The task's id."""
    fields: tuple[Row, ...] = ()
    """Rows of configuration that only this head has."""
    weights: Table = no_weights
    """The head's weights, keys as in the file."""
    body: Table = no_weights
    """Weights that this head adds to the body's, under the same prefix."""
    prefixed: bool = True
    """The body's keys stand under the family's prefix; false for the bare model's file."""
    when: Callable[[Theirs], bool] = always
    """Whether a configuration of the class means this architecture."""
    variants: tuple[Architecture, ...] = ()
    """What else the class may be, as its configuration says."""


@dataclass(frozen=True)
class Family:
    """A declarative, reversible map between a checkpoint layout and our model."""

    match: Mapping[str, Any]
    """Keys of `config.json` with the value each must have, a tuple of such values, or `...` for any that is there; more keys
    are more specific.
    """
    fields: tuple[Row, ...]
    """The rows of configuration that all architectures share."""
    weights: Table
    """The weights of the embedding and the trunk, keys as in the bare model's file."""
    architectures: Mapping[str, Architecture]
    """By class name; a configuration that names none means the first."""
    tokenizer: str
    """Id of the tokenizer, whose class has `read(folder, config)` and `write(folder)`."""
    prefix: str = ""
    """What stands before the body's keys where there is a head."""
    assumed: Mapping[str, Any] = field(default_factory=dict)
    """The home library's defaults for keys that a file may leave out."""
    aliases: tuple[tuple[str, str], ...] = ()
    """Ends of keys as old files write them, and as they are written now."""
    generation: tuple[str, ...] = ()
    """Keys that `generation_config.json` decides where a folder has one, and `config.json` where it has none."""

    def served(self) -> Iterator[tuple[str, Architecture]]:
        """Every class name with each architecture that it may mean."""
        for name, first in self.architectures.items():
            for architecture in (first, *first.variants):
                yield name, architecture

    def architecture(self, name: str | None, config: Theirs) -> tuple[str, Architecture]:
        """What a class name means in a configuration; the first variant where it means none, whose rows say why.

        Raises `ValueError` that lists the known names.
        """
        if name is None:
            name = next(iter(self.architectures))
        if name not in self.architectures:
            known = listed(list(self.architectures))
            raise ValueError(
                f"unknown architecture {name!r}{did_you_mean(name, self.architectures)}; this family has: {known}"
            )
        first = self.architectures[name]
        return name, next((each for each in (first, *first.variants) if each.when(config)), first)


def claims(match: Mapping[str, Any], config: Theirs) -> bool:
    """Whether a configuration has every value that `match` asks for."""
    for key, value in match.items():
        if value is ... and config.get(key) is not None:
            continue
        if config.get(key) not in (value if isinstance(value, tuple) else (value,)):
            return False
    return True


def choose(families: Mapping[str, Family], config: Theirs) -> tuple[str, Family]:
    """The family of a configuration: the most specific match.

    Raises `ValueError` where none matches, listing the known ones, and where two match equally well.
    """
    found = [(len(family.match), id) for id, family in families.items() if claims(family.match, config)]
    if not found:
        kind = config.get("model_type") or config.get("architecture")
        said = "config.json names no 'model_type'" if kind is None else f"unknown architecture {kind!r}"
        raise ValueError(f"{said}; the installed plugins read: {known(families)}")
    most = max(found)[0]
    best = [id for specific, id in found if specific == most]
    if len(best) > 1:
        raise ValueError(
            f"the families {' and '.join(best)} both claim this checkpoint; disable the plugin of one of them"
        )
    return best[0], families[best[0]]


def known(families: Mapping[str, Family]) -> str:
    """The families by id, for a message."""
    return ", ".join(families) or "none"


def whole_table(family: Family, architecture: Architecture, config: Theirs, prefix: str) -> Sequence[Step]:
    """All steps of an architecture's file: the body's, `prefix` before their keys, and the head's."""
    body = (
        replace(step, theirs=tuple(prefix + key for key in step.theirs))
        for table in (family.weights, architecture.body)
        for step in table(config)
    )
    return [*body, *architecture.weights(config)]
