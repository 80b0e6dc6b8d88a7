"""bio/contact-map: a protein to the pairs of its residues that touch in its fold.

* Every pair of residues 6 or more apart along the chain gets a probability, by ESM's regression on attention maps; see
  `heads/contacts.py`. A trunk trained from scratch learns by a term of residue pairs beside it.
* A protein is read whole, since contacts span it. A map of one block takes heads x L x L numbers, 0.3 GB for 20 heads at the
  longest of 2,000 residues; blocks come one after another. A longer protein is refused.
* The truth is a list of pairs, or coordinates; unresolved residues count neither in the loss nor in the score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from anyformer.task import Array, Data, Frozen, Metric, Prediction, Record, Rng, Sample, Task
from anyformer_bio import contacts as arithmetic
from anyformer_bio.contacts import NEAREST, RANGES
from anyformer_bio.labels import Checked
from anyformer_bio.tokenizers import PROTEIN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Head
    from anyformer.nn.config import Trunk

Point = tuple[float, float, float]


def _long_enough(text: str) -> str:
    sequence = PROTEIN.clean(text)
    if len(sequence) <= NEAREST:
        raise ValueError(
            f"{len(sequence)} residues have no pair: contacts are {NEAREST} residues apart or more, "
            f"so {NEAREST + 1} residues are needed"
        )
    return sequence


class Chain(Data):
    """A protein chain."""

    sequence: Annotated[str, AfterValidator(_long_enough)]
    """One letter a residue: the 20 standard ones, B, Z, X, U, O. Lower case is accepted, gaps are not."""


class Fold(Data):
    """Which residues truly touch: either pairs, or coordinates."""

    contacts: list[tuple[int, int]] | None = None
    """All pairs that touch, residues counted from 0; pairs less than 6 apart do not matter."""
    ca: list[Point | None] | None = None
    """Place of each alpha carbon in angstrom, none where it is not resolved."""
    cb: list[Point | None] | None = None
    """Place of each beta carbon; where there is none, as in glycine, the alpha carbon stands in."""

    @model_validator(mode="after")
    def _one_truth(self) -> Fold:
        if (self.contacts is None) == (self.ca is None and self.cb is None):
            raise ValueError("give contacts, or the coordinates ca and cb, and not both")
        return self


class Contacts(Data):
    """The predicted contacts."""

    length: int
    """Residues of the chain."""
    contacts: list[tuple[int, int, float]]
    """First and second residue, counted from 0, and the probability: every pair of `Options.threshold` or more, and in any
    case the `length` most probable pairs that are 6 to 11, 12 to 23, and 24 or more apart. In order of residues."""


class ContactMap(Task[Chain, Fold, Contacts]):
    """Contacts of residues."""

    class Config(Frozen):
        """Fixed by training."""

        pair_width: int = Field(default=16, ge=0)
        """Width of the term of residue pairs, which teaches the trunk. 0: the regression on attention maps alone (ESM)."""
        longest: int = Field(default=2000, ge=NEAREST + 1)
        """A protein with more residues is refused: memory grows with the square."""

    Input, Target, Output = Chain, Fold, Contacts

    class Options(Frozen):
        """Of one call."""

        threshold: float = Field(default=0.5, ge=0, le=1)
        """Every pair at least so probable is returned; 0 returns all pairs."""

    tokenizers: ClassVar[dict[str, str]] = {"protein": "anyformer_bio.esm_tokenizer:Esm"}
    default_trunk = {"encoder": {"width": 64, "depth": 4, "attention": {"heads": 4}, "dropout": 0.1}}
    default_training = {
        "steps": 2000,
        "records": 8,
        "tokens": 4096,
        "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01},
        "schedule": {"name": "cosine", "warmup": 100},
    }

    # -- data

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Made-up hairpins: two strands side by side around a turn; most as pairs, two as coordinates."""
        rows: list[dict[str, Any]] = []
        for index in range(10):
            arm, turn = 13 + index % 4, "GNGSPDG"[: 3 + index % 5]
            strand = ("VTIEVKYRLTFTWQ" * 2)[index : index + arm]
            sequence = strand + turn + strand[::-1]
            last = len(sequence) - 1
            if index in (3, 7):
                z = [3.4 * min(place, last - place) for place in range(len(sequence))]
                ca = [(0.0 if place <= last / 2 else 5.0, 0.0, height) for place, height in enumerate(z)]
                rows.append({"sequence": sequence, "ca": [None, *ca[1:]]})
            else:
                rows.append({"sequence": sequence, "contacts": [(place, last - place) for place in range(arm)]})
        return rows

    def records(self, raw: Sequence[Any]) -> Sequence[Record[Chain, Fold]]:
        """A row is a record; pairs and coordinates must fit the sequence."""
        return Checked(super().records(raw), _check)

    def fit(self, records: Sequence[Record[Chain, Fold]]) -> dict[str, Any]:
        """Contacts and known pairs by separation: `contacts` and `known`, int64 [257] each."""
        lengths = ((len(record.input.sequence), record.target) for record in records)
        contacts, known = arithmetic.count_separations((length, labels(length, fold)) for length, fold in lengths)
        return {"contacts": contacts, "known": known}

    # -- model

    def encode(self, input: Chain, options: Options) -> list[Sample]:
        """One sample: start, residues, end. Raises `ValueError` for more than `Config.longest` residues."""
        if len(input.sequence) > self.config.longest:
            raise ValueError(
                f"the chain has {len(input.sequence):,} residues; at most {self.config.longest:,} are read "
                "(config.longest), for memory grows with the square; cut it into domains"
            )
        tokenizer = self.tokens["protein"]
        return [Sample({"source": tokenizer.single(tokenizer.encode(input.sequence)["ids"])})]

    def learn(self, record: Record[Chain, Fold], rng: Rng) -> list[Sample]:
        """As `encode`, with a label for each pair."""
        (sample,) = self.encode(record.input, self.Options())
        sample.targets["contacts"] = labels(len(record.input.sequence), record.target)
        return [sample]

    def head(self, trunk: Trunk) -> Head:
        """A regression on the attention maps, and the term of pairs."""
        from anyformer_bio.heads import contacts

        of = trunk.output
        return contacts.Contacts(of.depth, of.attention.heads, of.width, self.config.pair_width, of.dropout)

    def decode(self, input: Chain, samples: list[Sample], predictions: list[Prediction], options: Options) -> Contacts:
        """The probable pairs."""
        logits = predictions[0].values["logits"].astype(np.float64)
        return _answer(len(input.sequence), 1 / (1 + np.exp(-np.clip(logits, -500, 500))), options.threshold)

    # -- honesty

    def metrics(self) -> list[Metric]:
        """Precision of the most probable pairs of long and medium range."""
        return [arithmetic.Precision(lambda output, target: labels(output.length, target))]

    def baselines(self) -> dict[str, Callable[[Chain], Contacts]]:
        """How often the training part has contacts at a pair's separation.

        For a model that was never trained here, one over the separation.
        """
        counts = self.state.get("contacts"), self.state.get("known")
        threshold = self.Options().threshold

        def answer(input: Chain) -> Contacts:
            length = len(input.sequence)
            return _answer(length, arithmetic.by_separation(length, *counts), threshold)

        return {"separation": answer}

    def draw(self, input: Chain, output: Contacts, target: Fold | None = None) -> Figure:
        """The map: predicted contacts above the diagonal, darker if more probable; true ones below it."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.5, 6), layout="constrained")
        axis = figure.subplots()
        image = np.full((output.length,) * 2, np.nan)
        for first, second, probability in output.contacts:
            image[first, second] = probability
        shown = axis.imshow(image, cmap="Blues", vmin=0, vmax=1)
        if target is not None:
            true = labels(output.length, target) == 1
            first, second = (each[true] for each in arithmetic.pairs_of(output.length))
            axis.plot(first, second, "s", color="#d1495b", markersize=2.5, label="true contacts")
            figure.legend(loc="outside upper right", frameon=False, fontsize=8)
        axis.set_xlabel("residue")
        axis.set_ylabel("residue")
        figure.colorbar(shown, label="predicted probability")
        return figure


def labels(length: int, fold: Fold) -> Array:
    """1, 0, or -100 where it is not known, for each pair of a chain of `length` residues: int64 [P]."""
    if fold.contacts is not None:
        return arithmetic.labels_from_pairs(length, fold.contacts)
    places = np.full((length, 3), np.nan)
    for carbons in (fold.ca, fold.cb):  # the beta carbon, where there is one, goes over the alpha carbon
        for index, place in enumerate(carbons or ()):
            if place is not None:
                places[index] = place
    return arithmetic.labels_from_places(places)


def _check(record: Record[Chain, Fold]) -> None:
    length, fold = len(record.input.sequence), record.target
    for name, carbons in (("ca", fold.ca), ("cb", fold.cb)):
        if carbons is not None and len(carbons) != length:
            raise ValueError(f"sequence has {length} residues and {name} {len(carbons)} places; they must agree")
    for pair in fold.contacts or ():
        if not all(0 <= place < length for place in pair):
            raise ValueError(f"the contact {list(pair)} is outside of {length} residues, which are counted from 0")


def _answer(length: int, probabilities: Array, threshold: float) -> Contacts:
    """Probabilities [P] of all pairs to an answer."""
    first, second = arithmetic.pairs_of(length)
    chosen = probabilities >= threshold
    for name in RANGES:
        inside = np.flatnonzero(arithmetic.in_range(second - first, name))
        chosen[inside[np.argsort(-probabilities[inside], kind="stable")[:length]]] = True
    columns = (first[chosen].tolist(), second[chosen].tolist(), probabilities[chosen].tolist())
    return Contacts(length=length, contacts=[(i, j, float(f"{p:.7g}")) for i, j, p in zip(*columns, strict=True)])
