"""Leaks of the future are found, whatever they are, and none is seen where there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from anyformer.heads import LanguageModel
from anyformer.task import Data, Record, Sample, Task
from anyformer.testing.cutoff import Timeline, changed_token_reaches
from anyformer.testing.subject import Subject

SEEN, AHEAD = 5, 3
ROWS = [{"day": str(day), "value": str(np.sin(day)), "name": "x"} for day in range(30)]


class Series(Data):
    values: list[float]


class Walk(Task[Series, Series, Series]):
    """Five values to the next three. `days` must follow one another."""

    Input = Target = Output = Series

    def records(self, raw: Sequence[Mapping[str, Any]]) -> Sequence[Record[Series, Series]]:
        days = [int(float(row["day"])) for row in raw]
        if days != list(range(days[0], days[0] + len(days))) or len(raw) < SEEN + AHEAD:
            raise ValueError("a gap, or too few rows")
        values = self.values([float(row["value"]) for row in raw])
        cuts = range(SEEN, len(raw) - AHEAD + 1)
        return [self.record(values, cut) for cut in cuts]

    def values(self, values: list[float]) -> list[float]:
        return values

    def record(self, values: list[float], cut: int) -> Record[Series, Series]:
        return Record(Series(values=values[cut - SEEN : cut]), Series(values=values[cut : cut + AHEAD]))

    def encode(self, input: Series, options: Any) -> list[Sample]:
        return [Sample({"source": np.float32(input.values)[:, None]})]


class Normalised(Walk):
    """By the mean of all rows, those to come included."""

    def values(self, values: list[float]) -> list[float]:
        return (np.array(values) - np.mean(values)).tolist()


class OneTooFar(Walk):
    """The input ends with the first value of the target."""

    def record(self, values: list[float], cut: int) -> Record[Series, Series]:
        return Record(Series(values=values[cut - SEEN : cut + 1]), Series(values=values[cut : cut + AHEAD]))


class Smoothed(Walk):
    """Each value is the mean of itself and the next."""

    def values(self, values: list[float]) -> list[float]:
        return [(a + b) / 2 for a, b in zip(values, [*values[1:], values[-1]], strict=True)]


def timeline(kind: type[Walk]) -> Timeline:
    return Timeline(kind(None, {}), ROWS)


def test_an_honest_task_has_no_leak() -> None:
    honest = timeline(Walk)
    assert (honest.size, honest.columns) == (SEEN + AHEAD, ["value"])
    assert honest.later_rows_reach() == ""
    assert honest.target_reaches() == ""


def test_a_mean_over_all_rows_is_a_leak() -> None:
    assert "parts.source has other values" in timeline(Normalised).later_rows_reach()


@pytest.mark.parametrize("kind", [Normalised, OneTooFar, Smoothed])
def test_rows_that_input_and_target_share_are_a_leak(kind: type[Walk]) -> None:
    assert "its target on some of the same rows" in timeline(kind).target_reaches()


@pytest.mark.parametrize("causal", [True, False])
def test_a_decoder_that_sees_ahead_is_found(causal: bool) -> None:
    honest = Subject.of("nlp/translation")
    decoder = {**honest.kind.default_trunk["decoder"], "causal": causal}

    def head(task: Any, trunk: Any) -> LanguageModel:
        """The task's own, without its refusal of a decoder that sees ahead."""
        return LanguageModel(trunk.output.width, task.tokens["text"].vocabulary_size)

    sighted = {"default_trunk": {**honest.kind.default_trunk, "decoder": decoder}, "head": head}
    kind = type("Sighted", (honest.kind,), sighted)
    leak = changed_token_reaches(Subject(honest.id, kind, honest.rows).model())
    assert (leak == "") == causal
    assert causal or "of the target changed, and before it logits differs by up to" in leak
