"""What runs the tokenizer of a checkpoint: the methods that each kind has, and the one for a checkpoint without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn, Protocol

import numpy as np

from anyformer.task import Array

Spans = list[tuple[int, int]]


@dataclass(frozen=True)
class Template:
    """Special ids around and between texts."""

    before: tuple[int, ...] = ()
    """Ids before one text."""
    after: tuple[int, ...] = ()
    """Ids after one text."""
    pair: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] = ((), (), ())
    """Ids before, between and after two texts."""
    segments: tuple[tuple[int, ...], int, tuple[int, ...], int, tuple[int, ...]] = ((), 0, (), 0, ())
    """Segments of a pair: of the ids before, of the first text, of the ids between, the second text, the ids after."""

    def single(self, ids: Array) -> Array:
        """Ids of one text [L] with the special ids around them."""
        return np.array([*self.before, *ids, *self.after], dtype=np.int64)

    def join(self, first: Array, second: Array) -> tuple[Array, Array]:
        """Ids of two texts with the special ids, and the segment of each."""
        before, between, after = self.pair
        of_before, of_first, of_between, of_second, of_after = self.segments
        ids = [*before, *first, *between, *second, *after]
        segments = [*of_before, *[of_first] * len(first), *of_between, *[of_second] * len(second), *of_after]
        return np.array(ids, dtype=np.int64), np.array(segments, dtype=np.int64)


def around(before: tuple[int, ...], after: tuple[int, ...], segments: tuple[int, int]) -> Template:
    """The template that gives each of two texts the ids that it would have alone, and its own segment."""
    first, second = segments
    return Template(
        before,
        after,
        (before, (*after, *before), after),
        (
            (first,) * len(before),
            first,
            (first,) * len(after) + (second,) * len(before),
            second,
            (second,) * len(after),
        ),
    )


class Engine(Protocol):
    """A tokenizer that has been read."""

    size: int
    """Number of ids."""
    special: frozenset[int]
    """Ids of special tokens, which stand for no text."""
    template: Template

    def id_of(self, token: str) -> int | None:
        """The id of a token as it is written in the files; None if there is none."""
        ...

    def encode(self, text: str) -> tuple[list[int], Spans]:
        """Ids of a text, without special ones, and the characters [from, to) that each stands for."""
        ...

    def decode(self, ids: list[int], final: bool) -> str:
        """The text of ids, none of them special; with `final=False` what further ids could change is held back."""
        ...


class Absent:
    """Stands where a checkpoint has no tokenizer that can be read; says why when a text comes."""

    size = 0
    special: frozenset[int] = frozenset()
    template = Template()

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def id_of(self, token: str) -> int | None:
        """No token has an id."""
        return None

    def encode(self, text: str) -> NoReturn:
        """Raises `ValueError` with the reason."""
        raise ValueError(self.reason)

    def decode(self, ids: list[int], final: bool) -> NoReturn:
        """Raises `ValueError` with the reason."""
        raise ValueError(self.reason)
