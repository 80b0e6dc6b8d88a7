"""bio/protein-embedding: a protein to one vector, and to a value learned from it: brightness, stability, binding.

* The vector is the mean over the residues, without the tokens of start and end, or the start token's own vector.
* Training teaches the value, by squared error on values brought to mean 0 and deviation 1. A model read from a checkpoint of
  a language model has no such layer (`Config.values` is 0) and only embeds.
* A protein is read whole; its length is bounded by the tokenizer, and by the trunk where positions are a learned table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from anyformer.task import Data, Frozen, Metric, Prediction, Record, Rng, Sample, Task
from anyformer_bio import composition
from anyformer_bio.secondary_structure import Protein

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Head
    from anyformer.nn.config import Trunk


class Property(Data):
    """What was measured."""

    value: float
    """In whatever unit; the answer has the same."""


class Embedding(Data):
    """A protein as numbers."""

    vector: list[float]
    """Of the protein."""
    value: float | None = None
    """The predicted value; absent in a model that only embeds."""
    residues: list[list[float]] | None = None
    """A vector for each residue, where `Options.residues` asked for them."""


class ProteinEmbedding(Task[Protein, Property, Embedding]):
    """A vector for a protein."""

    class Config(Frozen):
        """Fixed by training."""

        pool: Literal["residues", "first"] = "residues"
        """The vector is the mean over residues, or that of the start token."""
        values: int = Field(default=1, ge=0, le=1)
        """Values read from the vector: 1, or 0 for a model that only embeds."""

    Input, Target, Output = Protein, Property, Embedding

    class Options(Frozen):
        """Of one call."""

        residues: bool = False
        """Return a vector for each residue as well."""

    tokenizers: ClassVar[dict[str, str]] = {"protein": "anyformer_bio.esm_tokenizer:Esm"}
    default_trunk = {"encoder": {"width": 64, "depth": 3, "attention": {"heads": 4}, "dropout": 0.1}}
    default_training = {
        "steps": 2000,
        "records": 32,
        "tokens": 16384,
        "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01},
        "schedule": {"name": "cosine", "warmup": 100},
    }

    # -- data

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Made-up proteins; the value grows with the share of charged residues."""
        pieces = ["MKKLE", "GGSGG", "LVIAF", "DEKRD", "STNQP", "WYFHC"]
        rows = []
        for index in range(10):
            sequence = "".join(pieces[(index * step + step // 2) % 6] for step in range(1, 3 + index % 5))
            charged = sum(sequence.count(letter) for letter in "DEKR")
            rows.append({"sequence": sequence, "value": 2.0 + 10 * charged / len(sequence) + 0.1 * index})
        return rows

    def fit(self, records: Sequence[Record[Protein, Property]]) -> dict[str, Any]:
        """What scales the values and what the baselines know: `products` float64 [28, 28]."""
        return {"products": composition.products((r.input.sequence, r.target.value) for r in records)}

    # -- model

    def encode(self, input: Protein, options: Options) -> list[Sample]:
        """One sample: start, residues, end."""
        tokenizer = self.tokens["protein"]
        return [Sample({"source": tokenizer.single(tokenizer.encode(input.sequence)["ids"])})]

    def learn(self, record: Record[Protein, Property], rng: Rng) -> list[Sample]:
        """As `encode`, with the scaled value. Raises `ValueError` in a model that only embeds."""
        if not self.config.values:
            raise ValueError(
                "this model only embeds (config.values is 0), so there is nothing to train; set config.values to 1"
            )
        mean, deviation = composition.mean_and_deviation(self.state["products"])
        (sample,) = self.encode(record.input, self.Options())
        sample.targets["values"] = np.array([(record.target.value - mean) / deviation], dtype=np.float32)
        return [sample]

    def head(self, trunk: Trunk) -> Head:
        """The pooled vector, and a linear regression on it."""
        from anyformer_bio.heads.embedding import ProteinVector

        return ProteinVector(trunk.output.width, self.config.pool, self.config.values, trunk.output.dropout)

    def decode(
        self, input: Protein, samples: list[Sample], predictions: list[Prediction], options: Options
    ) -> Embedding:
        """The vector, and the value in its own unit."""
        found = predictions[0].values
        value = None
        if "values" in found:
            mean, deviation = composition.mean_and_deviation(self.state["products"])
            value = mean + deviation * float(found["values"][0])
        residues = found["residues"].tolist() if options.residues else None
        return Embedding(vector=found["vector"].tolist(), value=value, residues=residues)

    # -- honesty

    def metrics(self) -> list[Metric]:
        """Rank correlation, and errors. Not defined for a model that only embeds."""
        from anyformer.metrics import Spearman, SquaredError

        return [Spearman("value"), SquaredError("value")]

    def baselines(self) -> dict[str, Callable[[Protein], Embedding]]:
        """The mean value, and a ridge regression on the composition; both have the composition for a vector.

        For a model that was never trained here, the composition alone, without a value.
        """
        shares, state = composition.composition, self.state
        if "products" not in state:
            return {"composition": lambda input: Embedding(vector=shares(input.sequence).tolist())}
        mean, _ = composition.mean_and_deviation(state["products"])
        weights = composition.ridge(state["products"])
        return {
            "mean": lambda input: Embedding(vector=shares(input.sequence).tolist(), value=mean),
            "composition": lambda input: Embedding(
                vector=shares(input.sequence).tolist(), value=composition.predict(input.sequence, weights)
            ),
        }

    def draw(self, input: Protein, output: Embedding, target: Property | None = None) -> Figure:
        """The vector in bars; the title has the value, and the true one."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 3), layout="constrained")
        axis = figure.subplots()
        axis.bar(range(len(output.vector)), output.vector, width=1.0, color="#6fa8dc")
        axis.axhline(0, color="0.3", linewidth=0.6)
        axis.set_xlabel("coordinate of the vector")
        words = [f"{len(input.sequence)} residues"]
        if output.value is not None:
            words.append(f"predicted {output.value:.4g}")
        if target is not None:
            words.append(f"true {target.value:.4g}")
        axis.set_title(", ".join(words), fontsize=10)
        return figure
