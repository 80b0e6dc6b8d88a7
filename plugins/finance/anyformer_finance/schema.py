"""What forecasts are made of: their Config, Input, Target, Output and Options."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, PrivateAttr, field_validator, model_validator

from anyformer.task import Frozen
from anyformer_finance.arrays import Columns, Numbers, Times


class WindowConfig(Frozen):
    """What is forecast, from how much history: what all forecasts share."""

    look_back: int = Field(default=336, ge=2)
    """Values the model sees."""
    horizon: int = Field(default=96, ge=1)
    """Values it forecasts."""
    quantiles: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    """Levels, ascending, 0.5 among them."""
    columns: tuple[str, ...] = ()
    """Columns of the data to forecast; none given: all columns of numbers."""
    time: str = "auto"
    """Column of the time. `auto`: the one called date, datetime, timestamp, time or t, else the first if it has dates.
    `none`: rows are counted."""
    gaps: Literal["refuse", "fill"] = "refuse"
    """What to do where a value or a row is missing: stop, or carry the last value forward."""
    fill_limit: int = Field(default=5, ge=1)
    """Rows that one value may be carried."""
    season: int | None = Field(default=None, ge=1)
    """Rows in a season (24 for hours in a day): adds the baseline `seasonal-naive`."""
    stride: int = Field(default=1, ge=1)
    """Rows between two cut-offs of the data."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        levels = self.quantiles
        if sorted(set(levels)) != list(levels) or not all(0 < level < 1 for level in levels) or 0.5 not in levels:
            raise ValueError(
                f"quantiles {list(levels)} are no ascending levels between 0 and 1 with 0.5 among them, "
                "as in 0.1, 0.5, 0.9"
            )
        if self.season is not None and self.season > self.look_back:
            raise ValueError(
                f"season {self.season} is longer than look_back {self.look_back}; set look_back to a season or more"
            )
        return self


class Config(WindowConfig):
    """What is forecast from patches, and how it is learned."""

    loss: Literal["pinball", "squared"] = "pinball"
    """`squared` trains one forecast, the mean, which is given as that of the level 0.5 (PatchTST)."""
    pool: Literal["flatten", "mean", "max"] = "flatten"
    """What the forecast is read from: all patches of the look-back one after another, or their mean or maximum."""
    floor: float | None = Field(default=None, ge=0)
    """Added to the variance of each look-back before it is scaled, in the square of the data's units. None: a share of the
    variance over the training rows, whatever the units."""

    @model_validator(mode="after")
    def _one_squared(self) -> Self:
        if self.loss == "squared" and len(self.quantiles) > 1:
            raise ValueError(
                f"quantiles has {len(self.quantiles)} levels and loss squared trains one forecast; set quantiles to 0.5 "
                "alone, or loss to pinball"
            )
        return self


class Input(Columns):
    """The history of one or many series."""

    series: dict[str, Numbers]
    """Values by name, oldest first, null where one is missing; a bare list is one series called `value`. The model reads
    the last `look_back` of them."""
    timestamps: Times | None = None
    """When each value was taken: dates, ISO 8601 times or numbers. They are checked for gaps, order and duplicates."""
    _checked: bool = PrivateAttr(default=False)

    @field_validator("series", mode="before")
    @classmethod
    def _one_series(cls, given: Any) -> Any:
        return {"value": given} if isinstance(given, list | tuple | np.ndarray) else given

    @model_validator(mode="after")
    def _lengths(self) -> Input:
        if not self.series:
            raise ValueError("'series' is empty; give at least one, by name")
        for name, values in self.series.items():
            if self.timestamps is not None and len(values) != len(self.timestamps):
                raise ValueError(f"series {name!r} has {len(values)} values and 'timestamps' {len(self.timestamps)}")
        return self

    @classmethod
    def of_table(cls, series: dict[str, np.ndarray], timestamps: np.ndarray | None) -> Input:
        """A window of a checked table: float64 arrays without a missing value, taken as they are."""
        input = cls.model_construct(series=series, timestamps=timestamps)
        input._checked = True
        return input

    @property
    def checked(self) -> bool:
        """Whether it was cut from a checked table."""
        return self._checked


class Target(Columns):
    """What came after the history."""

    future: dict[str, Numbers]
    """The next `horizon` values by name; null is not scored."""


class Output(Columns):
    """A forecast: the distribution of each future value, by quantiles."""

    levels: list[float]
    """The levels of `quantiles`, ascending."""
    quantiles: dict[str, dict[str, Numbers]]
    """By series, then by level (`"0.1"`): `horizon` values, one a step. A level is the share of outcomes expected below."""
    median: dict[str, Numbers]
    """The point forecast by series: half of the outcomes are expected below."""


class Options(Frozen):
    """What to answer with."""

    levels: tuple[float, ...] | None = Field(default=None, min_length=1)
    """Quantiles to return, of those the model was trained for; all of them if not given."""
