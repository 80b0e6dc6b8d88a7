"""bio/secondary-structure: a label for each residue of a protein, e.g. helix (H), strand (E) or coil (C).

* The labels are the letters that the training part shows at resolved residues: three states, eight states or any other.
* A protein longer than `context` is read in overlapping windows, and each residue is answered by the window that sees most
  around it. Nothing is cut off.
* Residues that the experiment did not resolve (mask 0) count neither in the loss nor in the score.
* The rival to beat is GOR, a window of 17 residues read as naive Bayes; see `gor.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from anyformer.task import Array, Data, Frozen, Metric, Prediction, Record, Rng, Sample, Task
from anyformer_bio import gor
from anyformer_bio.labels import IGNORED, Checked, label_ids, probabilities_of
from anyformer_bio.tokenizers import PROTEIN
from anyformer_bio.windows import inside, stitch, windows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Head
    from anyformer.nn.config import Trunk


class Protein(Data):
    """A protein."""

    sequence: Annotated[str, AfterValidator(PROTEIN.clean)]
    """One letter a residue: the 20 standard ones, B, Z, X, U, O. Lower case is accepted, gaps are not."""


class Structure(Data):
    """The true label of each residue."""

    label: str = Field(min_length=1)
    """One letter a residue."""
    mask: str | None = Field(default=None, pattern="^[01]*$")
    """One digit a residue: 1 where the structure is resolved, 0 where it is not. Left out: all are."""

    @model_validator(mode="after")
    def _lengths_agree(self) -> Structure:
        if self.mask is not None and len(self.mask) != len(self.label):
            raise ValueError(f"label has {len(self.label)} letters and mask {len(self.mask)} digits; they must agree")
        return self


class Assignment(Data):
    """The predicted label of each residue."""

    label: str
    """One letter a residue."""
    confidence: list[float]
    """Probability of the predicted label, for each residue."""
    probabilities: dict[str, list[float]] | None = None
    """Probability of each label for each residue, where `Options.probabilities` asked for it."""


class SecondaryStructure(Task[Protein, Structure, Assignment]):
    """A label for each residue of a protein."""

    class Config(Frozen):
        """Fixed by training."""

        context: int = Field(default=512, ge=1)
        """Residues that the model reads at once; a longer protein is read in windows."""
        overlap: int = Field(default=128, ge=0)
        """Residues that neighbouring windows share at least."""

        @model_validator(mode="after")
        def _windows_advance(self) -> SecondaryStructure.Config:
            if self.overlap >= self.context:
                raise ValueError(f"overlap {self.overlap} must be smaller than context {self.context}")
            return self

    Input, Target, Output = Protein, Structure, Assignment

    class Options(Frozen):
        """Of one call."""

        probabilities: bool = False
        """Return the probability of every label, not only that of the predicted one."""

    tokenizers: ClassVar[dict[str, str]] = {"protein": "anyformer_bio.tokenizers:Protein"}
    default_trunk = {"encoder": {"width": 128, "depth": 4, "attention": {"heads": 4}, "dropout": 0.1}}
    default_training = {
        "steps": 3600,
        "records": 8,
        "tokens": 8192,
        "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.01},
        "schedule": {"name": "cosine", "warmup": 100},
    }

    # -- data

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Pieces of made-up helices, strands and loops, some with unresolved ends."""
        helix, strand, loop = "AEELLKKAEELAKK", "TVTVEVRVTV", "GNPDGS"
        rows = []
        for index in range(8):
            order = [("H", helix[: 6 + index]), ("C", loop[: 3 + index % 3]), ("E", strand[: 4 + index % 6])]
            order = order[index % 3 :] + order[: index % 3] + order[: index // 3]
            row = {
                "sequence": "".join(part for _, part in order),
                "label": "".join(name * len(part) for name, part in order),
            }
            if index % 2:
                row["mask"] = "0" * index + "1" * (len(row["label"]) - index)
            rows.append(row)
        return rows

    def records(self, raw: Sequence[Any]) -> Sequence[Record[Protein, Structure]]:
        """A row is a record; label and sequence must have one length."""
        return Checked(super().records(raw), _check)

    def fit(self, records: Sequence[Record[Protein, Structure]]) -> dict[str, Any]:
        """The labels, and what GOR counts: `labels` as text, `counts` int64 [C, gor.SPAN, letters + 1]."""
        chains = ((PROTEIN.ids(r.input.sequence), r.target.label, _resolved(r.target)) for r in records)
        counts = gor.count(chains, len(PROTEIN.letters))
        if not counts:
            raise ValueError("the training part has no resolved residue to learn from; see its column mask")
        labels = "".join(sorted(counts))
        return {"labels": labels, "counts": np.stack([counts[label] for label in labels])}

    # -- model

    def encode(self, input: Protein, options: Options) -> list[Sample]:
        """One sample for each window."""
        ids = self.tokens["protein"].encode(input.sequence)["ids"]
        return [Sample({"source": ids[w.start : w.stop]}) for w in self._windows(len(ids))]

    def learn(self, record: Record[Protein, Structure], rng: Rng) -> list[Sample]:
        """As `encode`, with the label of each residue in the one window that answers for it."""
        labels = label_ids(record.target.label, self.state["labels"], _resolved(record.target))
        samples = self.encode(record.input, self.Options())
        for sample, window in zip(samples, self._windows(len(labels)), strict=True):
            sample.targets["labels"] = inside(window, labels, IGNORED)
        return samples

    def head(self, trunk: Trunk) -> Head:
        """A linear classifier of each residue."""
        from anyformer.heads import TokenClassifier

        return TokenClassifier(trunk.output.width, len(self.state["labels"]), dropout=trunk.output.dropout)

    def decode(
        self, input: Protein, samples: list[Sample], predictions: list[Prediction], options: Options
    ) -> Assignment:
        """The most probable label of each residue."""
        spans = self._windows(len(input.sequence))
        return self._answer(stitch(spans, [prediction.values["logits"] for prediction in predictions]), options)

    # -- honesty

    def metrics(self) -> list[Metric]:
        """The share of resolved residues whose label is right: Q3 where there are three labels."""
        from anyformer.metrics import TokenAccuracy

        return [TokenAccuracy("label", "mask")]

    def baselines(self) -> dict[str, Callable[[Protein], Assignment]]:
        """The most frequent label, and GOR."""
        totals = self.state["counts"][:, gor.REACH].sum(axis=-1)
        prior = np.log(totals / totals.sum())
        return {
            "majority": lambda input: self._answer(np.tile(prior, (len(input.sequence), 1)), self.Options()),
            "gor": lambda input: self._answer(
                gor.log_odds(PROTEIN.ids(input.sequence), self.state["counts"]), self.Options()
            ),
        }

    def draw(self, input: Protein, output: Assignment, target: Structure | None = None) -> Figure:
        """The chain in lines, predicted labels above true ones, with the confidence above both."""
        from anyformer_bio.tracks import Kind, Track, draw_tracks

        kinds = [Kind("helix", "H", "#d1495b"), Kind("strand", "E", "#edae49"), Kind("coil", "C", "#c9d1d9")]
        tracks = [Track("predicted", output.label)]
        if target is not None:
            known = np.where(_resolved(target), list(target.label), " ")
            tracks.append(Track("true", "".join(known)))
        return draw_tracks(input.sequence, tracks, kinds, output.confidence)

    def _windows(self, length: int) -> list[Any]:
        return windows(length, self.config.context, self.config.overlap)

    def _answer(self, logits: Array, options: Options) -> Assignment:
        """Logits [L, C] to an answer."""
        labels = self.state["labels"]
        shares = probabilities_of(logits)
        by_label = dict(zip(labels, shares.T.round(6).tolist(), strict=True))
        return Assignment(
            label="".join(labels[index] for index in shares.argmax(axis=-1)),
            confidence=shares.max(axis=-1).round(6).tolist(),
            probabilities=by_label if options.probabilities else None,
        )


def _resolved(target: Structure) -> Array:
    """Which residues count, bool [L]."""
    if target.mask is None:
        return np.ones(len(target.label), dtype=bool)
    return np.frombuffer(target.mask.encode("ascii"), dtype=np.uint8) == ord("1")


def _check(record: Record[Protein, Structure]) -> None:
    sequence, label = record.input.sequence, record.target.label
    if len(sequence) != len(label):
        raise ValueError(f"sequence has {len(sequence)} residues and label {len(label)} letters; they must agree")
