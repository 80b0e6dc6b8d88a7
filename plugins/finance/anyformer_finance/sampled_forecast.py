"""Forecasting as writing: a series is a text of value bins, and its future is sampled word by word (Ansari et al. 2024,
Chronos: Learning the Language of Time Series, https://arxiv.org/abs/2403.07815).

Axis legend: A paths, C series, H steps of the horizon, N values of a look-back, Q levels.

* Each series is a sample of its own: the encoder reads the bins of its past, on the scale of their mean absolute value, and
  the decoder writes those of its future on the same scale.
* Quantiles are those of the sampled paths, so any level can be told, from as many paths as are asked for. Without sampling
  there is one path, the likeliest.
* A path has as many steps as the horizon, and no end before that. A longer horizon than that of training is refused.
* A history may be shorter than the look-back. The published model does not look at missing values: here those before the
  first value are left out, which is the same, and those after it are refused or filled, as the config says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from anyformer.infer.options import Generation, answers
from anyformer.task import Array, Prediction, Record, Rng, Sample
from anyformer_finance import schema
from anyformer_finance.forecasting import Forecasting
from anyformer_finance.table import Table

if TYPE_CHECKING:
    from anyformer.nn import Head
    from anyformer.nn.config import Trunk

IGNORED = -100
"""The label of a future value that is missing; no loss counts it."""
LONGEST = 100_000
"""Steps of a horizon at most."""
STACK = {
    "width": 64, "depth": 2, "attention": {"heads": 4, "bias": False, "output_bias": False},
    "feed_forward": {"width": 256, "activation": "relu", "bias": False}, "position": {"kind": "relative"},
    "norm": {"kind": "rms", "place": "pre"}, "dropout": 0.1,
}  # fmt: skip
"""Of either half of the default trunk: a small T5."""


class Config(schema.WindowConfig):
    """What is forecast, from how much history, and what the bins are read from."""

    look_back: int = Field(default=128, ge=2)
    """Values the model sees, at most."""
    horizon: int = Field(default=24, ge=1, le=LONGEST)
    """Values it forecasts."""
    tied: bool = False
    """The output's table is that of the bins (Press and Wolf 2017)."""
    bias: bool = False
    """Of the output."""
    scale: float = Field(default=1.0, gt=0)
    """Of what the output reads (T5)."""


class Options(Generation):
    """What to answer with, and how paths are sampled: by default as the published models do."""

    max_new_tokens: int = Field(default=LONGEST, ge=1, le=LONGEST)
    """Steps to forecast, if fewer than the horizon."""
    sample: bool = True
    """Draw each step by its probability; false: take the likeliest, which makes one path."""
    top_k: int = Field(default=50, ge=0)
    """Of sampling: only the `top_k` likeliest bins; 0: all."""
    num_answers: int = Field(default=20, ge=1, le=1024)
    """Paths to sample; 1 where `sample` is false."""
    levels: tuple[float, ...] | None = Field(default=None, min_length=1)
    """Quantiles to return, of those in the config; all of them if not given."""


class SampledForecast(Forecasting):
    """The next values of one or many series, as quantiles of sampled paths."""

    Config = Config
    Options = Options

    tokenizers = {"bins": "anyformer_finance.value_bins:ValueBins"}
    trunk = "both"
    default_trunk = {"encoder": STACK, "decoder": {**STACK, "causal": True, "cross": True}}
    default_training = {
        "steps": 2000,
        "records": 32,
        "tokens": 20_000,
        "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01},
        "schedule": {"name": "cosine", "warmup": 100},
    }
    solver = "anyformer.infer.solvers:generate"

    def encode(self, input: schema.Input, options: Any) -> list[Sample]:
        """One sample for each series: `source` is its past with an end, `target` the start.

        Raises `ValueError` for broken or missing history, unknown levels, and more steps than the horizon.
        """
        self._chosen(options)
        steps, horizon = options.max_new_tokens, self.config.horizon
        if horizon < steps < LONGEST:
            raise ValueError(
                f"'max_new_tokens' is {steps}; the model forecasts {horizon} steps (config.horizon) at most"
            )
        return [self._sample(*each) for each in zip(*self._history(input), strict=True)]

    def notes(self) -> dict[str, Any]:
        """What rules the writing of any path: how long it is, and that nothing ends it before."""
        return {"max_new_tokens": self.config.horizon, "suppressed": (self.tokens["bins"].end_id,)}

    def learn(self, record: Record[schema.Input, schema.Target], rng: Rng) -> list[Sample]:
        """`encode`, with `target` the start and the future, `labels` the future and its end; a missing value is no label."""
        bins = self.tokens["bins"]
        samples = self.encode(record.input, self.Options())
        for sample in samples:
            future_H = self._future(record, sample.notes["name"])
            written = bins.closed(bins.ids(future_H, sample.notes["scale"]))
            sample.parts["target"] = np.append(bins.start_id, written[:-1])
            written[: len(future_H)][np.isnan(future_H)] = IGNORED
            sample.targets["labels"] = written
        return samples

    def head(self, trunk: Trunk) -> Head:
        """The next bin. Raises `ValueError` for a decoder that sees what it is to write."""
        from anyformer.heads import LanguageModel

        if not trunk.output.causal or not trunk.output.cross:
            raise ValueError(
                "a future is written step by step from a past: trunk.decoder needs causal=true, cross=true"
            )
        chosen = self.config
        return LanguageModel(
            trunk.output.width, self.tokens["bins"].vocabulary_size, stream="target", tied=chosen.tied, bias=chosen.bias,
            scale=chosen.scale,
        )  # fmt: skip

    def decode(
        self, input: schema.Input, samples: list[Sample], predictions: list[Prediction], options: Any
    ) -> schema.Output:
        """Quantiles of the paths of each series, on the scale of the data; between two paths they are interpolated."""
        bins, levels = self.tokens["bins"], self.config.quantiles
        found_CQH = []
        for sample, prediction in zip(samples, predictions, strict=True):
            paths_AH = bins.values(np.stack(answers(prediction)), sample.notes["scale"])
            found_CQH.append(np.quantile(paths_AH, levels, axis=0))
        return self._answer([sample.notes["name"] for sample in samples], np.stack(found_CQH), options)

    def _sample(self, name: str, history_N: Array) -> Sample:
        bins = self.tokens["bins"]
        known = history_N[~np.isnan(history_N)]
        scale = bins.scale(known)
        parts = {"source": bins.closed(bins.ids(known, scale)), "target": np.array([bins.start_id], np.int64)}
        return Sample(parts, notes={"name": name, "scale": scale, **self.notes()})

    def _history(self, input: schema.Input) -> tuple[list[str], Array]:
        """Names and the last values [C, N] of each series; before the first one that is known there is NaN."""
        size = self.config.look_back
        histories_CN = np.full((len(input.series), size), np.nan)
        for row_N, (name, values) in zip(histories_CN, input.series.items(), strict=True):
            known = values[-size:] if input.checked else self._complete(name, values, input.timestamps)
            row_N[size - len(known) :] = known
        return list(input.series), histories_CN

    def _complete(self, name: str, values: Array, timestamps: Array | None) -> Array:
        """The last values of a series from its first known one on, filled or refused as the config says."""
        config, size = self.config, self.config.look_back
        recent = values[-size:]
        if np.isnan(recent).all():
            raise ValueError(f"series {name!r} has no value among its last {size}; give at least one")
        first = int((~np.isnan(recent)).argmax())
        moments = None if timestamps is None else timestamps[-size:][first:]
        try:
            table = Table.of({name: recent[first:]}, moments, config.gaps, config.fill_limit)
        except ValueError as error:
            raise ValueError(f"in the last {len(recent) - first} values, {error}") from None
        filled: Array = table.filled_CN[0, -size:]
        return filled
