"""What the tasks that forecast series share: their records, their answers, their scores and their baselines.

Axis legend: C series, H steps of the horizon, N values of a look-back, Q levels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anyformer.task import Array, Metric, Record, Task
from anyformer_finance import schema
from anyformer_finance.table import read_table
from anyformer_finance.windows import Windows, scales

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Forecasting(Task[schema.Input, schema.Target, schema.Output]):
    """The next values of one or many series, as quantiles. Abstract: it has no model."""

    Config: type[schema.WindowConfig] = schema.WindowConfig
    Input = schema.Input
    Target = schema.Target
    Output = schema.Output
    temporal = True

    def _history(self, input: schema.Input) -> tuple[list[str], Array]:
        """Names and look-backs [C, N], complete. Where a task takes shorter series, they have NaN before them."""
        raise NotImplementedError

    # -- data

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """A table of hours and two series: enough for nine records of the default config."""
        default = cls.Config()
        hours = np.arange(default.look_back + default.horizon + 8)
        start = np.datetime64("2024-01-01T00", "h")
        noise = np.random.default_rng(0).normal(size=(2, len(hours)))
        load = 50 + 10 * np.sin(hours * 2 * np.pi / 24) + noise[0]
        price = 30 + 0.02 * hours + 5 * np.cos(hours * 2 * np.pi / 12) + noise[1]
        return [
            {"date": str(start + hour), "load": f"{load[hour]:.3f}", "price": f"{price[hour]:.3f}"} for hour in hours
        ]

    def records(self, raw: Sequence[Mapping[str, Any]]) -> Sequence[Record[schema.Input, schema.Target]]:
        """A table with one row for each time: each cut-off is a record. Rows with a `series` are records as they are."""
        if len(raw) and "series" in raw[0]:
            return super().records(raw)
        config = self.config
        table = read_table(raw, config.columns, config.time, config.gaps, config.fill_limit)
        return Windows.of(table, config.look_back, config.horizon, config.stride)

    def fit(self, records: Sequence[Record[schema.Input, schema.Target]]) -> dict[str, Any]:
        """Mean and deviation of each series over the training rows: `{"names", "mean" [C], "std" [C]}`."""
        return scales(records)

    # -- honesty

    def metrics(self) -> list[Metric]:
        """Errors of the median in training deviations, then quantile loss and coverage."""
        from anyformer_finance.metrics import Errors, Spread

        return [Errors(self._deviations), Spread()]

    def baselines(self) -> dict[str, Callable[[schema.Input], schema.Output]]:
        """The last value, the mean of the look-back and, with `season`, the last season; all as point forecasts.

        Steps of a season that a short history does not have get its last value.
        """
        found = {"repeat": self._point(lambda history_CN, step_H: history_CN[:, [-1]])}
        found["mean"] = self._point(lambda history_CN, step_H: np.nanmean(history_CN, axis=1, keepdims=True))
        season = self.config.season
        if season is not None:
            found["seasonal-naive"] = self._point(lambda history_CN, step_H: _last_season(history_CN, step_H, season))
        return found

    def draw(self, input: schema.Input, output: schema.Output, target: schema.Target | None = None) -> Figure:
        """A fan chart of each series."""
        from anyformer_finance.picture import fan_chart

        return fan_chart(input, output, target)

    # -- parts

    @property
    def _deviations(self) -> dict[str, float]:
        """Deviation over the training rows, by series."""
        return dict(zip(self.state.get("names", []), np.asarray(self.state.get("std", [])).tolist(), strict=True))

    def _future(self, record: Record[schema.Input, schema.Target], name: str) -> Array:
        """The true values [H] of a series; raises `ValueError` if they are not as many as the horizon."""
        future = record.target.future.get(name, np.empty(0))
        if len(future) != self.config.horizon:
            raise ValueError(f"'future' of {name!r} has {len(future)} values; the horizon is {self.config.horizon}")
        return future

    def _chosen(self, options: Any) -> list[int]:
        """Indices of the levels to return; raises `ValueError` for one that the model does not have."""
        levels = self.config.quantiles
        unknown = [level for level in options.levels or () if level not in levels]
        if unknown:
            known = ", ".join(f"{level:g}" for level in levels)
            raise ValueError(f"level {unknown[0]:g} was not trained; the model has {known}")
        return [place for place, level in enumerate(levels) if options.levels is None or level in options.levels]

    def _answer(self, names: Sequence[str], found_CQH: Array, options: Any) -> schema.Output:
        """Quantiles of all levels of the config to the answer."""
        levels = self.config.quantiles
        chosen = {f"{levels[place]:g}": place for place in self._chosen(options)}
        return schema.Output.model_construct(
            levels=[levels[place] for place in chosen.values()],
            quantiles={
                name: {key: found_QH[place] for key, place in chosen.items()}
                for name, found_QH in zip(names, found_CQH, strict=True)
            },
            median=dict(zip(names, found_CQH[:, levels.index(0.5)], strict=True)),
        )

    def _point(self, method: Callable[[Array, Array], Array]) -> Callable[[schema.Input], schema.Output]:
        """A baseline from a method: look-back [C, N] and step numbers [H] to [C, H] or [C, 1]."""

        def answer(input: schema.Input) -> schema.Output:
            names, history_CN = self._history(input)
            steps_H = np.arange(self.config.horizon)
            shape = len(names), len(self.config.quantiles), len(steps_H)
            return self._answer(names, np.broadcast_to(method(history_CN, steps_H)[:, None], shape), self.Options())

        return answer


def _last_season(history_CN: Array, step_H: Array, season: int) -> Array:
    """The values [C, H] one season before, or more where the horizon is longer; the last value where they are unknown."""
    found_CH = history_CN[:, step_H % season - season]
    return np.where(np.isnan(found_CH), history_CN[:, [-1]], found_CH)
