"""`nlp/text-regression`: a text to a number: stars, difficulty, similarity to a norm.

* How a text of any length is read is told in `whole_texts.py`.
* The model learns numbers brought to mean 0 and deviation 1 by those of the training part, and answers in their unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from anyformer.baselines import mean_and_deviation, ridge
from anyformer.task import Data, Metric, Prediction, Record, Rng, Sample
from anyformer_nlp.whole_texts import Text, TextConfig, WholeText

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Head
    from anyformer.nn.config import Trunk

MAX_RECORDS = 20_000
"""The baseline `ridge` learns from so many, the first: it needs to hold them."""


class Number(Data):
    """A number: the true answer, and what is answered."""

    value: float
    """In whatever unit the training data has."""


class TextRegression(WholeText[Number, Number]):
    """A text to a number."""

    class Config(TextConfig):
        """Fixed by training."""

        miss: Literal["squared", "absolute", "huber"] = "squared"
        """The error that training makes small: Huber's forgives wild numbers, the absolute one learns medians."""

    Target = Number
    Output = Number

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """How warm it is, eight texts of different lengths, in degrees."""
        rows = {
            "frost": -4, "ice on the lake, and snow": -9, "a cool morning in the hills": 9, "mild, some clouds": 15,
            "warm": 22, "a hot day by the sea, with a breeze": 29, "小籠包 in the heat of the noon": 35, "rain": 12,
        }  # fmt: skip
        return [{"text": text, "value": value} for text, value in rows.items()]

    def fit(self, records: Sequence[Record[Text, Number]]) -> dict[str, Any]:
        """`mean` and `deviation` of the values; `intercept` and `weights` float32 [V] of the baseline."""
        mean, deviation = mean_and_deviation(record.target.value for record in records)
        first = list(islice(records, MAX_RECORDS))
        if not first:
            raise ValueError("the training data has no record to learn from")
        features = [np.unique(self.ids_of(record.input)) for record in first]
        values = np.array([record.target.value for record in first])
        intercept, weights = ridge(features, values, self.tokens["text"].vocabulary_size)
        return {"mean": mean, "deviation": deviation, "intercept": intercept, "weights": weights.astype(np.float32)}

    def learn(self, record: Record[Text, Number], rng: Rng) -> list[Sample]:
        """One sample: a window drawn at random, some of its tokens left out; target `values`, float32 [1, 1]."""
        sample = self.drawn(record.input, rng)
        scaled = (record.target.value - self.state["mean"]) / self.state["deviation"]
        sample.targets["values"] = np.array([[scaled]], dtype=np.float32)
        return [sample]

    def head(self, trunk: Trunk) -> Head:
        """A linear layer over the pooled vector."""
        from anyformer.heads import Regression

        return Regression(
            trunk.output.width,
            pool=self.config.pooling,
            hidden=self.config.hidden,
            dropout=self.config.dropout,
            miss=self.config.miss,
        )

    def decode(self, input: Text, samples: list[Sample], predictions: list[Prediction], options: Any) -> Number:
        """The mean over the windows, in the unit of the training data."""
        found = np.mean([prediction.values["values"][0] for prediction in predictions], dtype=np.float64)
        return Number(value=self.state["mean"] + self.state["deviation"] * float(found))

    def metrics(self) -> list[Metric]:
        """Rank correlation, which decides; correlation, explained variance and errors."""
        from anyformer.metrics import OneNumber

        return [OneNumber()]

    def baselines(self) -> dict[str, Callable[[Text], Number]]:
        """`mean`: of the training part; `ridge`: a ridge regression on which of the tokenizer's ids the text has.

        A checkpoint says nothing of the data it learned from: there is only `mean`, and it is 0 unless we wrote the file.
        """
        mean = Number(value=self.state["mean"])
        if "weights" not in self.state:
            return {"mean": lambda input: mean}
        weights = np.asarray(self.state["weights"], dtype=np.float64)

        def on_ids(input: Text) -> Number:
            return Number(value=self.state["intercept"] + float(weights[np.unique(self.ids_of(input))].sum()))

        return {"mean": lambda input: mean, "ridge": on_ids}

    def draw(self, input: Text, output: Number, target: Number | None = None) -> Figure:
        """The number on a line, beside those of the training part and the truth."""
        from anyformer_nlp.drawings import draw_number

        truth = None if target is None else target.value
        return draw_number(input.text, output.value, truth, self.state["mean"], self.state["deviation"])
