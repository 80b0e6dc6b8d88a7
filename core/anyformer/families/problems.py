"""What a head of one answer a sequence is for: `problem_type`, the names of its labels, and the units of its numbers.

* One class of the home library classifies, labels or regresses, as `problem_type` says; each is another task of ours.
  Without that key a single output is a number, as the home library trains it.
* A regression of ours learns numbers brought to mean 0 and deviation 1. On the way out its last layer is made to say them in
  the data's units, so that the home library answers as we do, and `STANDARD` says how to undo it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from anyformer.families.family import Architecture, Table
from anyformer.families.fields import Computed, Only, Ours, Row, Theirs
from anyformer.families.steps import Step, mapped
from anyformer.hints import listed

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
STANDARD = "anyformer_standard"
"""A key of ours in their configuration: mean and deviation of the numbers that the model learned from."""


def problem(theirs: Theirs) -> str:
    """What the head is for."""
    kind = theirs.get("problem_type")
    if kind is None:
        return REGRESSION if len(_names(theirs)) == 1 else SINGLE
    return str(kind)


def of_sequence(
    tasks: Mapping[str, str], rows: tuple[Row, ...], head: Table, body: Table | None = None
) -> Architecture:
    """A class with one architecture for each problem: `tasks` names the task that each becomes."""
    made = []
    for kind, task in tasks.items():
        own = Architecture(task, (_said(tuple(tasks)), *_ROWS[kind], *rows), head, when=_is(kind))
        made.append(own if body is None else replace(own, body=body))
    return replace(made[0], variants=tuple(made[1:]))


def output(theirs: Theirs, layer: str) -> Iterator[Step]:
    """The last layer, `head.output`; that of a regression says its numbers in the data's units."""
    mean, deviation = _standard(theirs)
    yield mapped(f"{layer}.weight", "head.output.weight", lambda own: own / deviation, lambda own: own * deviation)
    yield mapped(
        f"{layer}.bias", "head.output.bias", lambda own: (own - mean) / deviation, lambda own: own * deviation + mean
    )


def _is(kind: str) -> Any:
    return lambda theirs: problem(theirs) == kind


def _said(kinds: tuple[str, ...]) -> Row:
    """Refuses a problem that no task of the class is for."""

    def check(theirs: Theirs) -> Mapping[str, Any]:
        if problem(theirs) not in kinds:
            raise ValueError(f"'problem_type' is {problem(theirs)!r}; supported: {listed(kinds)}")
        return {}

    return Computed(check, lambda ours: {})


def _names(theirs: Theirs) -> list[str]:
    """Names of the outputs, by index; without them, LABEL_0 and so on."""
    names = theirs.get("id2label") or {str(index): f"LABEL_{index}" for index in range(theirs.get("num_labels", 2))}
    if not isinstance(names, dict) or sorted(names, key=int) != [str(index) for index in range(len(names))]:
        raise ValueError("'id2label' must name the classes from 0 on without a gap")
    return [str(names[str(index)]) for index in range(len(names))]


def _labels(theirs: Theirs) -> Mapping[str, Any]:
    kind, names = theirs.get("problem_type"), _names(theirs)
    if kind not in (None, SINGLE):
        raise ValueError(f"'problem_type' is {kind!r}; supported: {SINGLE!r}")
    if len(names) < 2:
        raise ValueError("there is one label, so the model regresses; supported: a choice among two or more")
    return {"state.labels": names}


def _said_labels(ours: Ours) -> Mapping[str, Any]:
    labels = ours["state"]["labels"]
    return {
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
    }


def _standard(theirs: Theirs) -> tuple[float, float]:
    """Mean and deviation. Raises `ValueError` for what is no such pair."""
    found = theirs.get(STANDARD, [0.0, 1.0])
    numbers = isinstance(found, list) and all(type(each) in (int, float) and math.isfinite(each) for each in found)
    if not numbers or len(found) != 2 or found[1] <= 0:
        raise ValueError(f"{STANDARD!r} is {found!r}; it must be a mean and a deviation above 0")
    return float(found[0]), float(found[1])


def _units(theirs: Theirs) -> Mapping[str, Any]:
    if len(names := _names(theirs)) != 1:
        raise ValueError(f"'id2label' names {len(names)} numbers; supported: a regression of one")
    mean, deviation = _standard(theirs)
    return {"state.mean": mean, "state.deviation": deviation}


def _said_units(ours: Ours) -> Mapping[str, Any]:
    standard = [ours["state"]["mean"], ours["state"]["deviation"]]
    return {"problem_type": REGRESSION, "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}, STANDARD: standard}


LABELS = Computed(_labels, _said_labels)
"""`id2label` and `label2id` are the labels in the task's state, of which one is right."""
_ROWS: Mapping[str, tuple[Row, ...]] = {
    SINGLE: (LABELS,),
    MULTI: (Only("problem_type", MULTI), Computed(lambda theirs: {"state.labels": _names(theirs)}, _said_labels)),
    REGRESSION: (Computed(_units, _said_units),),
}
