"""How a checkpoint's configuration becomes ours and back: rows of a table.

Our side is a tree of four branches, addressed by dotted paths: `trunk` (the trunk's configuration), `config` and `state` (of
the task), and `tokenizer` (what the tokenizer says of itself).

| row        | meaning                                                                         |
|------------|---------------------------------------------------------------------------------|
| `Field`    | a key of theirs is a path of ours, its values renamed where a table says so     |
| `Fixed`    | what the architecture implies and no key says                                   |
| `Only`     | a key of theirs of which one value alone is supported                           |
| `Computed` | functions, where one key is not one path                                        |
| `Told`     | keys that are written for the home library and say nothing to us                |

* Writing is checked by reading back: what the family cannot express is refused by name, never dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anyformer.hints import listed

Theirs = Mapping[str, Any]
"""A checkpoint's `config.json`, with the home library's defaults for what it leaves out."""
Ours = dict[str, Any]
"""The tree of our side."""

IN_TRAINING_ONLY = ("dropout", "stochastic_depth")
"""Settings of the trunk that change no answer: a family need not express them."""


@dataclass(frozen=True)
class Field:
    """A key of theirs and the paths of ours that it decides; on the way back the first of them speaks."""

    theirs: str
    ours: str | tuple[str, ...]
    values: Mapping[Any, Any] | None = None
    """Their value to ours; others are refused."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of ours."""
        return (self.ours,) if isinstance(self.ours, str) else self.ours

    def read(self, theirs: Theirs, ours: Ours) -> None:
        """Set the paths."""
        value = _of(theirs, self.theirs)
        if self.values is not None:
            if not isinstance(value, str | bool | int | None) or value not in self.values:
                raise ValueError(f"{self.theirs!r} is {value!r}; supported: {listed(list(map(str, self.values)))}")
            value = self.values[value]
        for path in self.paths:
            put(ours, path, value)

    def write(self, ours: Ours, theirs: dict[str, Any]) -> None:
        """Set the key."""
        value = get(ours, self.paths[0])
        if self.values is not None:
            found = [key for key, own in self.values.items() if own == value]
            if not found:
                raise ValueError(f"{self.paths[0]} is {value!r}; the family has: {listed(list(map(str, self.values)))}")
            value = found[0]
        theirs[self.theirs] = value


@dataclass(frozen=True)
class Fixed:
    """A value of ours that the architecture implies."""

    ours: str
    value: Any

    def read(self, theirs: Theirs, ours: Ours) -> None:
        """Set the path."""
        put(ours, self.ours, self.value)

    def write(self, ours: Ours, theirs: dict[str, Any]) -> None:
        """Nothing to say; reading back finds a value that differs."""


@dataclass(frozen=True)
class Only:
    """A key of theirs of which `value` alone is supported."""

    theirs: str
    value: Any

    def read(self, theirs: Theirs, ours: Ours) -> None:
        """Raise `ValueError` for another value."""
        found = theirs.get(self.theirs, self.value)
        if found != self.value:
            raise ValueError(f"{self.theirs!r} is {found!r}; supported: {self.value!r}")

    def write(self, ours: Ours, theirs: dict[str, Any]) -> None:
        """Set the key."""
        theirs[self.theirs] = self.value


@dataclass(frozen=True)
class Computed:
    """What two functions make of each other's side."""

    reading: Callable[[Theirs], Mapping[str, Any]]
    """Their configuration to values by path."""
    writing: Callable[[Ours], Mapping[str, Any]]
    """Our tree to values by key."""

    def read(self, theirs: Theirs, ours: Ours) -> None:
        """Set the paths."""
        for path, value in self.reading(theirs).items():
            put(ours, path, value)

    def write(self, ours: Ours, theirs: dict[str, Any]) -> None:
        """Set the keys."""
        theirs.update(self.writing(ours))


@dataclass(frozen=True)
class Told:
    """Keys that tell the home library what the tokenizer is, by the tokenizer's attribute: written, never read."""

    keys: Mapping[str, str]

    def read(self, theirs: Theirs, ours: Ours) -> None:
        """Nothing: the tokenizer reads its own files."""

    def write(self, ours: Ours, theirs: dict[str, Any]) -> None:
        """Set the keys of what the tokenizer has."""
        told = {key: ours["tokenizer"].get(name) for key, name in self.keys.items()}
        theirs.update({key: value for key, value in told.items() if value is not None})


Row = Field | Fixed | Only | Computed | Told


def read(rows: Sequence[Row], theirs: Theirs) -> Ours:
    """Our tree. Raises `ValueError` for a key that is missing or a value that is not supported."""
    ours: Ours = {"trunk": {}, "config": {}, "state": {}, "tokenizer": {}}
    for row in rows:
        row.read(theirs, ours)
    return ours


def write(rows: Sequence[Row], ours: Ours) -> dict[str, Any]:
    """Their configuration. Raises `ValueError` naming a value of ours that the rows cannot express."""
    theirs: dict[str, Any] = {}
    for row in rows:
        row.write(ours, theirs)
    return theirs


def get(tree: Mapping[str, Any], path: str) -> Any:
    """What stands under a dotted path. Raises `ValueError` where there is no such branch."""
    found: Any = tree
    for name in path.split("."):
        if not isinstance(found, Mapping) or name not in found:
            raise ValueError(f"there is no {path}")
        found = found[name]
    return found


def put(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set what stands under a dotted path, making branches as needed."""
    *branches, name = path.split(".")
    for branch in branches:
        tree = tree.setdefault(branch, {})
    tree[name] = value


def difference(given: Mapping[str, Any], expressed: Mapping[str, Any], where: str) -> str | None:
    """The first path at which two trunks, as nested values, differ in what changes an answer; None if they agree."""
    for name, value in given.items():
        other, path = expressed.get(name), f"{where}.{name}"
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            found = difference(value, other, path)
            if found is not None:
                return found
        elif value != other and name not in IN_TRAINING_ONLY:
            return f"{path} is {value!r}, where the family means {other!r}"
    return None


def _of(theirs: Theirs, key: str) -> Any:
    if key not in theirs:
        raise ValueError(f"{key!r} is missing")
    return theirs[key]
