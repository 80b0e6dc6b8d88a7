"""Words of a text, and what tags say of them: entities, and how many were found.

* A tag is a prefix and a label, `B-person`: B begins an entity, I goes on, E ends one, S is one of a single word, O is
  outside (Ramshaw and Marcus 1995). Tags that do not follow their scheme are read as conlleval and seqeval read them:
  an entity begins wherever one cannot go on, so `O I-person` is an entity of one word.
* Tags without a prefix (parts of speech) name no entities.
* A text is split into words much as BERT does before its pieces (Devlin et al. 2019): at spaces, around marks, and around
  every ideograph.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from anyformer.metrics.base import OfSums
from anyformer.task import Array

OUTSIDE = "O"
Entity = tuple[str, int, int]
"""Label, first word, one past the last word."""


def words_of(text: str) -> list[tuple[int, int]]:
    """Characters [from, to) of each word of a text."""
    spans: list[tuple[int, int]] = []
    previous = "space"
    for place, character in enumerate(text):
        kind = _kind(character)
        if kind == previous == "letter":
            spans[-1] = (spans[-1][0], place + 1)
        elif kind != "space":
            spans.append((place, place + 1))
        previous = kind
    return spans


def _kind(character: str) -> str:
    """`space`, `alone` for what is a word of its own, or `letter`."""
    if character.isspace():
        return "space"
    name = unicodedata.name(character, "")
    alone = unicodedata.category(character)[0] in "PS" or name.startswith("CJK ")
    return "alone" if alone else "letter"


def has_entities(labels: Iterable[str]) -> bool:
    """Whether these tags name entities: each is O, or has a prefix of B, I, E or S, and one has."""
    prefixes = {label.partition("-")[0] if "-" in label else label for label in labels}
    return prefixes <= {"B", "I", "E", "S", OUTSIDE} and prefixes != {OUTSIDE}


def entities_of(tags: Sequence[str]) -> list[Entity]:
    """The entities of the tags of one sentence, in order, as seqeval's default mode finds them."""
    found: list[Entity] = []
    is_open = False
    for place, tag in enumerate(tags):
        prefix, _, label = tag.partition("-")
        if prefix == OUTSIDE:
            is_open = False
        elif is_open and prefix in ("I", "E") and label == found[-1][0]:
            found[-1] = (label, found[-1][1], place + 1)
            is_open = prefix == "I"
        else:
            found.append((label, place, place + 1))
            is_open = prefix in ("B", "I")
    return found


class EntityF1(OfSums):
    """F1, precision and recall of entities over all records, label and both ends being right; 0 where nothing is to divide.

    Equal to seqeval's micro averages (Nakayama 2018), which are conlleval's (Tjong Kim Sang and De Meulder 2003).
    """

    names = ("f1", "precision", "recall")
    dtype = "float32"

    def row(self, output: Any, target: Any) -> Sequence[float]:
        """Entities that both have, entities answered, true entities. Raises `ValueError` for unequal numbers of tags."""
        if len(output.tags) != len(target.tags):
            raise ValueError(
                f"{len(output.tags)} tags answered for {len(target.tags)}; there must be one for each word"
            )
        answered, true = set(entities_of(output.tags)), set(entities_of(target.tags))
        return (float(len(answered & true)), float(len(answered)), float(len(true)))

    def of_sums(self, sums: Array) -> dict[str, Array]:
        """Twice what both have over all there is; what both have over each."""
        both, answered, true = sums.T
        pairs = {"f1": (2 * both, answered + true), "precision": (both, answered), "recall": (both, true)}
        return {
            name: np.divide(above, below, out=np.zeros_like(below), where=below > 0)
            for name, (above, below) in pairs.items()
        }
