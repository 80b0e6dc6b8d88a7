"""Forecasting: patches of the past in, quantiles of the future out (PatchTST: Nie et al. 2023, A Time Series is Worth 64
Words, https://arxiv.org/abs/2211.14730).

Axis legend: C series, H steps of the horizon, Q levels, L patches, P values in a patch.

* Channel-independent: each series is a sample of its own, on shared weights. A record is one cut-off of all series.
* Each window is normalised by the mean and deviation of its look-back alone, and the forecast is scaled back (Kim et al.
  2022, RevIN, without its affine part). A series whose window hardly moves is divided by a little of its deviation over the
  training rows instead, so that a fixed exchange rate does not blow noise up.
* The model is trained on all levels at once by the pinball loss, and the median is the point forecast; or on one, the mean,
  by the squared error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anyformer.task import Array, Metric, Prediction, Record, Rng, Sample, Task
from anyformer_finance import schema
from anyformer_finance.table import Table, read_table
from anyformer_finance.windows import Windows, scales

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Head
    from anyformer.nn.config import Trunk

FLOOR = 1e-5
"""Share of a series' variance over the training rows that is added to each window's variance (RevIN's epsilon), where the
config gives no `floor`."""


class Forecast(Task[schema.Input, schema.Target, schema.Output]):
    """The next values of one or many series, as quantiles."""

    Config = schema.Config
    Input = schema.Input
    Target = schema.Target
    Output = schema.Output
    Options = schema.Options

    tokenizers = {"patches": "anyformer_finance.tokenizers:Patches"}
    default_trunk = {
        "encoder": {
            "width": 16,
            "depth": 3,
            "attention": {"heads": 4},
            "feed_forward": {"width": 128},
            "position": {"kind": "learned", "length": 512},
            "norm": {"place": "pre"},
            "dropout": 0.3,
        }
    }
    default_training = {
        "steps": 800,
        "records": 64,
        "tokens": 20_000,
        "optimizer": {"name": "adamw", "lr": 4e-3, "weight_decay": 0.01},
        "schedule": {"name": "cosine", "warmup": 50},
    }
    demo = "anyformer_finance.demos:volatility"
    temporal = True

    # -- data

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """A table of 440 hours and two series: enough for nine records of the default config."""
        hours = np.arange(440)
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

    # -- model

    def encode(self, input: schema.Input, options: Any) -> list[Sample]:
        """One sample for each series. Raises `ValueError` for short, broken or missing history and for unknown levels."""
        self._chosen(options)
        names, history_CN = self._history(input)
        mean_C, scale_C = self._window(names, history_CN)
        safe_C = np.where(scale_C > 0, scale_C, 1.0)
        patches_CLP = self.tokens["patches"].cut((history_CN - mean_C[:, None]) / safe_C[:, None])
        return [
            Sample({"source": patches_LP}, notes={"name": name, "mean": mean, "scale": scale})
            for name, patches_LP, mean, scale in zip(names, patches_CLP, mean_C.tolist(), scale_C.tolist(), strict=True)
        ]

    def learn(self, record: Record[schema.Input, schema.Target], rng: Rng) -> list[Sample]:
        """`encode`, and the future on the scale of each window."""
        samples = self.encode(record.input, self.Options())
        future = record.target.future
        for sample in samples:
            name, scale = sample.notes["name"], sample.notes["scale"] or 1.0
            if len(future.get(name, ())) != self.config.horizon:
                found = len(future.get(name, ()))
                raise ValueError(f"'future' of {name!r} has {found} values; the horizon is {self.config.horizon}")
            sample.targets["values"] = ((future[name] - sample.notes["mean"]) / scale).astype(np.float32)
        return samples

    def head(self, trunk: Trunk) -> Head:
        """Quantiles of all steps from all patches at once, with the trunk's dropout before them."""
        from anyformer.heads import Quantile

        config = self.config
        num_patches = self.tokens["patches"].count(config.look_back)
        last = trunk.output
        return Quantile(
            last.width, config.horizon, config.quantiles, num_patches, last.dropout, config.pool,
            squared=config.loss == "squared",
        )  # fmt: skip

    def decode(
        self, input: schema.Input, samples: list[Sample], predictions: list[Prediction], options: Any
    ) -> schema.Output:
        """Quantiles on the scale of the data."""
        found_CHQ = np.stack([prediction.values["quantiles"] for prediction in predictions]).astype(np.float64)
        mean_C11 = np.array([sample.notes["mean"] for sample in samples])[:, None, None]
        scale_C11 = np.array([sample.notes["scale"] for sample in samples])[:, None, None]
        found_CHQ = found_CHQ * scale_C11 + mean_C11
        return self._answer([sample.notes["name"] for sample in samples], found_CHQ.transpose(0, 2, 1), options)

    # -- honesty

    def metrics(self) -> list[Metric]:
        """Errors of the median in training deviations, then quantile loss and coverage."""
        from anyformer_finance.metrics import Errors, Spread

        return [Errors(self._deviations), Spread()]

    def baselines(self) -> dict[str, Callable[[schema.Input], schema.Output]]:
        """The last value, the mean of the look-back and, with `season`, the last season; all as point forecasts."""
        found = {"repeat": self._point(lambda history_CN, step_H: history_CN[:, [-1]])}
        found["mean"] = self._point(lambda history_CN, step_H: history_CN.mean(axis=1, keepdims=True))
        season = self.config.season
        if season is not None:
            found["seasonal-naive"] = self._point(lambda history_CN, step_H: history_CN[:, step_H % season - season])
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

    def _history(self, input: schema.Input) -> tuple[list[str], Array]:
        """Names and the look-back [C, N] of each series, complete."""
        config, size = self.config, self.config.look_back
        short = [(name, len(values)) for name, values in input.series.items() if len(values) < size]
        if short:
            name, found = short[0]
            raise ValueError(
                f"series {name!r} has {found} values; the model reads {size} (config.look_back), give at least those"
            )
        series = {name: values[-size:] for name, values in input.series.items()}
        if input.checked:
            return list(series), np.stack(list(series.values()))
        moments = None if input.timestamps is None else input.timestamps[-size:]
        try:
            table = Table.of(series, moments, config.gaps, config.fill_limit)
        except ValueError as error:
            raise ValueError(f"in the last {size} values, {error}") from None
        return list(series), table.filled_CN[:, -size:]

    def _window(self, names: Sequence[str], history_CN: Array) -> tuple[Array, Array]:
        """Mean [C] and scale [C] of the look-backs. Without a floor, that of a constant series not seen in training is 0."""
        floor: Array | float | None = self.config.floor
        if floor is None:
            deviations = self._deviations
            floor = FLOOR * np.array([deviations.get(name, 0.0) for name in names]) ** 2
        return history_CN.mean(axis=1), np.sqrt(history_CN.var(axis=1) + floor)

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
