from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from anyformer_finance.forecast import Forecast
from anyformer_finance.tokenizers import Patches

Rows = list[dict[str, Any]]


@pytest.fixture(scope="session")
def hours() -> Callable[..., Rows]:
    """A function: hourly rows of two series with text values, as a reader gives them."""

    def make(count: int = 60) -> Rows:
        start = np.datetime64("2024-03-01T00:00:00")
        return [{"date": str(start + 3600 * row), "a": f"{row + 0.5}", "b": f"{100 - row % 7}"} for row in range(count)]

    return make


@pytest.fixture(scope="session")
def forecast() -> Callable[..., Forecast]:
    """A function: a small bound task, fitted on records where they are given."""

    def make(fitted: Any = None, **config: Any) -> Forecast:
        settings = Forecast.Config(**{"look_back": 24, "horizon": 4, **config})
        patches = {"patches": Patches(Patches.Config(length=8, stride=4))}
        task = Forecast(settings, patches)
        return task if fitted is None else Forecast(settings, patches, task.fit(fitted))

    return make


@pytest.fixture(scope="session")
def task(hours: Callable[..., Rows], forecast: Callable[..., Forecast]) -> Forecast:
    return forecast(forecast().records(hours(60)), season=7)


@pytest.fixture(scope="session")
def record(task: Forecast, hours: Callable[..., Rows]) -> Any:
    return task.records(hours(60))[3]
