"""bio/protein-regression: a protein to a number that was measured: fitness, brightness, stability.

* The score that decides is Spearman's correlation, as TAPE (Rao et al. 2019, https://arxiv.org/abs/1906.08230) and FLIP
  report it: the scale of an assay is often arbitrary, the order of its variants is what is wanted.
* The model learns numbers brought to mean 0 and deviation 1 by those of the training part, and answers in their unit.
* A protein is read whole; its length is bounded by the tokenizer, and by the trunk where positions are a learned table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from anyformer.baselines import mean_and_deviation
from anyformer.task import Data, Frozen, Metric, Prediction, Record, Rng, Sample, Task
from anyformer_bio import composition, one_hot
from anyformer_bio.secondary_structure import Protein

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Head
    from anyformer.nn.config import Trunk

MAX_RECORDS = 50_000
"""The baseline `one_hot` learns from so many, the first: it needs to hold them."""


class Measured(Data):
    """A number: the true answer, and what is answered."""

    value: float
    """In whatever unit the training data has."""


class ProteinRegression(Task[Protein, Measured, Measured]):
    """A protein to a number."""

    class Config(Frozen):
        """Fixed by training."""

        pooling: Literal["mean", "first", "last"] = "mean"
        """Which vector stands for the protein: the mean of all, the start token's, or the end token's."""
        hidden: Literal["tanh", "relu", "gelu"] | None = None
        """Activation of a layer between the pooled vector and the number: `tanh` in ESM."""
        dropout: float = Field(default=0.1, ge=0, lt=1)
        """On the pooled vector."""
        miss: Literal["squared", "absolute", "huber"] = "squared"
        """The error that training makes small: Huber's forgives wild numbers, the absolute one learns medians."""

    Input, Target, Output = Protein, Measured, Measured
    tokenizers: ClassVar[dict[str, str]] = {"protein": "anyformer_bio.esm_tokenizer:Esm"}
    default_trunk = {"encoder": {"width": 64, "depth": 3, "attention": {"heads": 4}, "dropout": 0.1}}
    default_training = {
        "steps": 2000,
        "records": 32,
        "tokens": 16384,
        "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01},
        "schedule": {"name": "cosine", "warmup": 100},
    }
    # A trained model knows proteins already: few passes, small steps.
    default_tuning = {"training.epochs": 5, "training.optimizer.lr": 1e-4}

    # -- data

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Variants of a made-up protein, two of them without its end; charges raise the number."""
        wild = "MKVLAGSTNQWYFH"
        rows = []
        for index in range(10):
            place, residue = 2 + index, "DEKR"[index % 4]
            sequence = wild[:place] + residue + wild[place + 1 :]
            rows.append(
                {"sequence": sequence[: 12 if index in (0, 5) else None], "value": 40.0 + 3 * index - index**2 / 2}
            )
        return rows

    def fit(self, records: Sequence[Record[Protein, Measured]]) -> dict[str, Any]:
        """`mean` and `deviation` of the values, and what the baselines know: `products` float64 [28, 28], and
        what `one_hot.fit` gives.
        """
        mean, deviation = mean_and_deviation(record.target.value for record in records)
        first = list(islice(records, MAX_RECORDS))
        if not first:
            raise ValueError("the training data has no record to learn from")
        return {
            "mean": mean,
            "deviation": deviation,
            "products": composition.products((r.input.sequence, r.target.value) for r in records),
            **one_hot.fit([r.input.sequence for r in first], [r.target.value for r in first]),
        }

    # -- model

    def encode(self, input: Protein, options: Any) -> list[Sample]:
        """One sample: start, residues, end."""
        tokenizer = self.tokens["protein"]
        return [Sample({"source": tokenizer.single(tokenizer.encode(input.sequence)["ids"])})]

    def learn(self, record: Record[Protein, Measured], rng: Rng) -> list[Sample]:
        """As `encode`, with the scaled number: target `values`, float32 [1, 1]."""
        (sample,) = self.encode(record.input, None)
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

    def decode(self, input: Protein, samples: list[Sample], predictions: list[Prediction], options: Any) -> Measured:
        """The number, in the unit of the training data."""
        return Measured(value=self.state["mean"] + self.state["deviation"] * float(predictions[0].values["values"][0]))

    # -- honesty

    def metrics(self) -> list[Metric]:
        """Rank correlation, which decides; correlation, explained variance and errors."""
        from anyformer.metrics import OneNumber

        return [OneNumber()]

    def baselines(self) -> dict[str, Callable[[Protein], Measured]]:
        """`mean`: of the training part; `composition` and `one_hot`: ridge regressions on how many of each residue there
        are, and on which residue stands where.

        A checkpoint says nothing of the data it learned from: there is only `mean`, and it is 0 unless we wrote the file.
        """
        mean, state = Measured(value=self.state["mean"]), self.state
        if "products" not in state:
            return {"mean": lambda input: mean}
        weights = composition.ridge(state["products"])
        return {
            "mean": lambda input: mean,
            "composition": lambda input: Measured(value=composition.predict(input.sequence, weights)),
            "one_hot": lambda input: Measured(value=one_hot.predict(input.sequence, state)),
        }

    def draw(self, input: Protein, output: Measured, target: Measured | None = None) -> Figure:
        """The number on a line, beside those of the training part and the truth."""
        from matplotlib.figure import Figure

        mean, deviation = self.state["mean"], self.state["deviation"]
        figure = Figure(figsize=(6, 1.9), layout="constrained")
        axes = figure.add_subplot()
        axes.axvspan(mean - deviation, mean + deviation, color="0.9", label="training: mean, deviation")
        axes.axvline(mean, color="0.7")
        axes.plot([output.value], [0], "o", color="#2f6fab", label=f"predicted {output.value:.4g}")
        if target is not None:
            axes.plot([target.value], [0], "D", color="#2e8b57", label=f"true {target.value:.4g}")
        axes.set_yticks([])
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=3, frameon=False, fontsize=9)
        axes.set_title(f"{len(input.sequence)} residues", fontsize=10, loc="left")
        return figure
