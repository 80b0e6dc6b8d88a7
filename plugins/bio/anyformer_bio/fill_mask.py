"""bio/fill-mask: a protein with hidden residues to the residues that stand there, each with its probability.

* A hidden residue is written `_` or `<mask>`.
* Training hides residues by itself, each time others: 15 %, of which 80 % become the mask, 10 % a random residue and 10 %
  stay (`anyformer.objectives.MaskedToken`). What a row hides counts in evaluation alone.
* A row of plain data, a whole protein as `sequence` and nothing else, is evaluated with 15 % of its residues hidden, always
  the same ones.
* Probabilities are over all 33 tokens of the alphabet, as every masked language model states them; what is not a residue is
  no candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator, Field

from anyformer.task import Array, Data, Frozen, Metric, Prediction, Record, Rng, Sample, Task
from anyformer_bio.esm_tokenizer import FIRST, LETTERS, MASK
from anyformer_bio.hiding import HIDDEN, WHOLE, HiddenResidues, Hiding, check, hidden, places_of
from anyformer_bio.labels import Checked, probabilities_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Head
    from anyformer.nn.config import Trunk


class Masked(Data):
    """A protein with hidden residues."""

    sequence: Annotated[str, AfterValidator(hidden)]
    """One letter a residue, `_` or `<mask>` where it is hidden."""


class Whole(Data):
    """The true protein."""

    filled: Annotated[str, AfterValidator(WHOLE.clean)]
    """One letter a residue; nothing is hidden."""


class Place(Data):
    """What may stand at a hidden place."""

    place: int
    """Counted from 0."""
    candidates: dict[str, float]
    """Probability of each residue, the most probable first."""


class Filled(Data):
    """The protein with its hidden residues found."""

    sequence: str
    """The most probable residue at each hidden place."""
    places: list[Place]
    """Every hidden place, in order."""


class FillMask(Task[Masked, Whole, Filled]):
    """Hidden residues of a protein."""

    class Config(Frozen):
        """Fixed by training."""

        rate: float = Field(default=0.15, gt=0, lt=1)
        """Share of the residues that are hidden."""
        hidden: Literal["gelu", "relu"] | None = "gelu"
        """Activation of a layer with a norm before the alphabet (BERT, ESM). None: no such layer."""
        bias: bool = True
        """A bias for each token."""
        tied: bool = True
        """Tokens are scored by the vectors that stand for them in the input."""
        epsilon: float = Field(default=1e-5, gt=0)
        """Of the norm."""

    Input, Target, Output = Masked, Whole, Filled

    class Options(Frozen):
        """Of one call."""

        top: int = Field(default=len(LETTERS), ge=1, le=len(LETTERS))
        """Candidates of a place, the most probable ones."""

    tokenizers: ClassVar[dict[str, str]] = {"protein": "anyformer_bio.esm_tokenizer:Esm"}
    default_trunk = {"encoder": {"width": 128, "depth": 4, "attention": {"heads": 4}}}
    default_training = {
        "steps": 4000,
        "records": 32,
        "tokens": 16384,
        "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01},
        "schedule": {"name": "cosine", "warmup": 200},
    }

    # -- data

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Made-up repeats, some with places hidden by hand and some whole."""
        units = ["AEK", "GS", "LVI", "PQ", "TNH", "WY", "DR", "FCM", "KE", "GPO"]
        rows: list[dict[str, Any]] = []
        for index, unit in enumerate(units):
            whole = (unit * 12)[: 14 + index]
            if index % 2:
                rows.append({"sequence": whole})
            else:
                rows.append({"sequence": f"{whole[:3]}{MASK}{whole[4:8]}<mask>{whole[9:]}", "filled": whole})
        return rows

    def records(self, raw: Sequence[Any]) -> Sequence[Record[Masked, Whole]]:
        """A row is a record; some residues of a whole protein are hidden."""
        return Checked(super().records(Hiding(raw, self.config.rate)), check)

    def fit(self, records: Sequence[Record[Masked, Whole]]) -> dict[str, Any]:
        """How often each residue occurs: `counts` int64 [25]."""
        counts = np.zeros(len(LETTERS), np.int64)
        for record in records:
            counts += np.bincount(WHOLE.ids(record.target.filled), minlength=len(LETTERS))
        return {"counts": counts}

    # -- model

    def encode(self, input: Masked, options: Options) -> list[Sample]:
        """One sample: start, residues, end."""
        tokenizer = self.tokens["protein"]
        return [Sample({"source": tokenizer.single(tokenizer.encode(input.sequence)["ids"])})]

    def learn(self, record: Record[Masked, Whole], rng: Rng) -> list[Sample]:
        """As `encode`, with other residues hidden."""
        from anyformer.objectives import MaskedToken

        tokenizer = self.tokens["protein"]
        masking = MaskedToken(MaskedToken.Config(rate=self.config.rate), tokenizer)
        return masking.learn({"ids": tokenizer.single(tokenizer.encode(record.target.filled)["ids"])}, rng)

    def head(self, trunk: Trunk) -> Head:
        """The masked language model's head."""
        from anyformer.heads import LanguageModel

        config = self.config
        return LanguageModel(
            trunk.output.width, self.tokens["protein"].vocabulary_size, stream="source", tied=config.tied,
            bias=config.bias, hidden=config.hidden, epsilon=config.epsilon,
        )  # fmt: skip

    def decode(self, input: Masked, samples: list[Sample], predictions: list[Prediction], options: Options) -> Filled:
        """The candidates of each hidden place."""
        places = places_of(input.sequence)
        shares = probabilities_of(predictions[0].values["logits"][places + 1])  # behind the start token
        return _answer(input.sequence, shares[:, FIRST : FIRST + len(LETTERS)], options.top)

    # -- honesty

    def metrics(self) -> list[Metric]:
        """How many hidden residues are found, at once and among five, and the perplexity."""
        return [HiddenResidues()]

    def baselines(self) -> dict[str, Callable[[Masked], Filled]]:
        """How often each residue occurs in the training part; all alike for a model that was never trained here."""
        counts = self.state.get("counts", np.zeros(len(LETTERS))) + 1
        shares = counts / counts.sum()
        return {
            "background": lambda input: _answer(
                input.sequence, np.tile(shares, (len(places_of(input.sequence)), 1)), len(LETTERS)
            )
        }

    def draw(self, input: Masked, output: Filled, target: Whole | None = None) -> Figure:
        """A column of probabilities for each hidden place; a dot marks the residue that is there."""
        from matplotlib.figure import Figure

        shares = np.array([[place.candidates.get(letter, 0.0) for place in output.places] for letter in LETTERS])
        figure = Figure(figsize=(min(16, 2.5 + 0.3 * len(output.places)), 6), layout="constrained")
        axis = figure.subplots()
        image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axis.set_yticks(range(len(LETTERS)), list(LETTERS), fontsize=7)
        if len(output.places) <= 60:
            axis.set_xticks(
                range(len(output.places)), [str(p.place + 1) for p in output.places], rotation=90, fontsize=7
            )
        axis.set_xlabel("hidden residue")
        if target is not None:
            true = [LETTERS.index(target.filled[place.place]) for place in output.places]
            axis.plot(range(len(true)), true, "o", color="#d1495b", markersize=4, label="true residue")
            figure.legend(loc="outside upper right", frameon=False, fontsize=8)
        figure.colorbar(image, label="probability")
        return figure


def _answer(sequence: str, shares: Array, top: int) -> Filled:
    """Probabilities [N, 25] of the hidden places to an answer."""
    ids, places = HIDDEN.ids(sequence), places_of(sequence)
    order = np.argsort(-shares, axis=1, kind="stable")
    ids[places] = order[:, 0]
    found = [
        Place(place=place, candidates={LETTERS[index]: float(f"{share[index]:.7g}") for index in best[:top]})
        for place, best, share in zip(places.tolist(), order, shares, strict=True)
    ]
    return Filled(sequence=WHOLE.text(ids), places=found)
