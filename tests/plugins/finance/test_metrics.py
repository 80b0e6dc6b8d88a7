from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from anyformer_finance.metrics import Errors, Spread
from anyformer_finance.schema import Output, Target


def answer(**series: list[list[float]]) -> Output:
    """An Output of levels 0.1, 0.5, 0.9 from rows by level."""
    quantiles = {name: dict(zip(("0.1", "0.5", "0.9"), rows, strict=True)) for name, rows in series.items()}
    return Output(levels=[0.1, 0.5, 0.9], quantiles=quantiles, median={name: rows[1] for name, rows in series.items()})


def score(metric: Any, *pairs: tuple[Output, Target]) -> dict[str, float]:
    found: dict[str, float] = metric.scores(np.array([metric.row(*pair) for pair in pairs]))
    return found


def test_errors_are_in_training_deviations_and_skip_missing_values() -> None:
    output = answer(x=[[0, 0], [2, 4], [9, 9]], y=[[0, 0], [30, 10], [99, 99]])
    target = Target(future={"x": [4, None], "y": [10, 10]})
    scores = score(Errors({"x": 2.0, "y": 10.0}), (output, target))
    assert scores == {"mse": pytest.approx((1 + 4 + 0) / 3), "mae": pytest.approx((1 + 2 + 0) / 3)}


def test_the_score_of_records_is_one_ratio_of_sums() -> None:
    one = answer(x=[[0], [1], [2]]), Target(future={"x": [1]})
    two = answer(x=[[0, 0, 0], [0, 0, 0], [0, 0, 0]]), Target(future={"x": [2, 2, 2]})
    assert score(Errors({"x": 1.0}), one, two)["mse"] == pytest.approx(3.0)


def test_quantile_loss_and_coverage_by_hand() -> None:
    output, target = answer(x=[[1, 1], [2, 2], [3, 3]]), Target(future={"x": [2.5, 5]})
    pinball = np.array([0.1 * 1.5, 0.5 * 0.5, 0.1 * 0.5]) + np.array([0.1 * 4, 0.5 * 3, 0.9 * 2])
    scores = score(Spread(), (output, target))
    assert scores["wql"] == pytest.approx(2 * pinball.mean() / 7.5)
    assert scores["coverage"] == 0.5


def test_the_quantile_loss_of_a_point_is_its_error_over_the_size() -> None:
    output, target = answer(x=[[3, 3]] * 3), Target(future={"x": [1, -7]})
    assert score(Spread(), (output, target))["wql"] == pytest.approx((2 + 10) / 8)


@pytest.mark.parametrize(
    ("future", "message"),
    [
        ({"y": [1]}, "'future' has 'y', which was not forecast; 'series' has 'x'"),
        ({"x": [1, 2]}, "'future' of 'x' has 2 values; the horizon is 1"),
        ({"x": [1]}, "series 'x' was not in the training data, which had 'z'"),
    ],
)
def test_what_cannot_be_scored_is_said(future: dict[str, list[float]], message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        Errors({"z": 1.0}).row(answer(x=[[0], [0], [0]]), Target(future=future))


def test_a_record_keeps_at_most_64_bytes() -> None:
    pair = answer(x=[[0], [0], [0]]), Target(future={"x": [1]})
    numbers = len(Errors({"x": 1.0}).row(*pair)) + len(Spread().row(*pair))
    assert numbers * np.dtype("float64").itemsize <= 64
