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

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anyformer.task import Array, Prediction, Record, Rng, Sample
from anyformer_finance import schema
from anyformer_finance.forecasting import Forecasting
from anyformer_finance.table import Table

if TYPE_CHECKING:
    from anyformer.nn import Head
    from anyformer.nn.config import Trunk

FLOOR = 1e-5
"""Share of a series' variance over the training rows that is added to each window's variance (RevIN's epsilon), where the
config gives no `floor`."""


class Forecast(Forecasting):
    """The next values of one or many series, as quantiles."""

    Config = schema.Config
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
        for sample in samples:
            future, scale = self._future(record, sample.notes["name"]), sample.notes["scale"] or 1.0
            sample.targets["values"] = ((future - sample.notes["mean"]) / scale).astype(np.float32)
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

    # -- parts

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
