from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from anyformer.task import Record
from anyformer_finance.forecast import Forecast
from anyformer_finance.schema import Input, Target


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"series": {"a": [1, 2]}},
            "series 'a' has 2 values; the model reads 24 (config.look_back), give at least those",
        ),
        (
            {"series": {"a": [1, None] * 12}},
            "in the last 24 values, row 2: 'a' is missing; complete it, or set config.gaps=fill",
        ),
        (
            {"series": {"a": [1] * 24}, "timestamps": [*range(23), 30]},
            "in the last 24 values, row 24: timestamps 30 follows 22 although",
        ),
        (
            {"series": {"a": [1] * 24}, "timestamps": [*range(23), 5]},
            "in the last 24 values, row 24: timestamps 5 comes after 22; sort",
        ),
    ],
)
def test_broken_history_is_refused(task: Forecast, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        task.encode(Input.model_validate(given), task.Options())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"series": {}}, "'series' is empty; give at least one, by name"),
        ({"series": {"a": [1, 2]}, "timestamps": [1]}, "series 'a' has 2 values and 'timestamps' 1"),
        ({"series": {"a": [1, "x"]}}, "value 2 is 'x', which is no number"),
        ({"series": 3}, "dictionary"),
    ],
)
def test_a_malformed_input_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Input.model_validate(given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"quantiles": (0.1, 0.9)}, "quantiles [0.1, 0.9] are no ascending levels between 0 and 1 with 0.5 among them"),
        ({"quantiles": (0.5, 0.1)}, "quantiles [0.5, 0.1] are no ascending levels"),
        ({"quantiles": (0.5, 1.0)}, "quantiles [0.5, 1.0] are no ascending levels"),
        ({"season": 400}, "season 400 is longer than look_back 336; set look_back to a season or more"),
    ],
)
def test_a_config_that_contradicts_itself_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Forecast.Config(**given)


def test_levels_and_futures_that_do_not_fit_are_refused(task: Forecast, record: Any) -> None:
    with pytest.raises(ValueError, match=r"level 0\.05 was not trained; the model has 0\.1, 0\.2, .*0\.9"):
        task.encode(record.input, task.Options(levels=(0.05, 0.5)))
    with pytest.raises(ValueError, match="'future' of 'b' has 0 values; the horizon is 4"):
        task.learn(Record(record.input, Target(future={"a": [1, 2, 3, 4]})), np.random.default_rng(0))
