"""bio/gene-translation: a coding sequence and the number of its genetic code to the protein it is read as.

* One token a base behind one token for the genetic code. The third base of each codon carries the residue's label, so the
  model finds the other two by their distance and the code by its token.
* The code matters: mitochondria read TGA as tryptophan where the standard code stops. NCBI numbers the codes.
* Every codon gives one letter, a stop gives `*`; the start codon is read like any other.
* A lookup in NCBI's table is the exact answer, and anyone who needs proteins should use it. The task is here because its
  truth is known for every input: it shows whether a model learns a rule with exceptions, and reads its condition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import AfterValidator, Field

from anyformer.task import Array, Data, Frozen, Metric, Prediction, Record, Rng, Sample, Task
from anyformer_bio.labels import IGNORED, Checked, label_ids, letters_of, probabilities_of
from anyformer_bio.tokenizers import DNA, known_table
from anyformer_bio.windows import inside, stitch, windows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Head
    from anyformer.nn.config import Trunk

NUM_CODONS = 64
"""Codons of plain bases."""


def _whole_codons(text: str) -> str:
    """The sequence as the model reads it; raises `ValueError` for an illegal letter or a broken codon."""
    dna = DNA.clean(text)
    if len(dna) % 3:
        raise ValueError(
            f"{len(dna)} bases are no whole number of codons: {len(dna) % 3} too many; give the reading frame alone"
        )
    return dna


class Gene(Data):
    """A coding sequence, in frame."""

    dna: Annotated[str, AfterValidator(_whole_codons)]
    """Bases in multiples of three: A, C, G, T or U, and the IUPAC letters for several bases."""
    table: Annotated[int, AfterValidator(known_table)] = 1
    """NCBI's number of the genetic code; 1 is the standard one, 2 that of vertebrate mitochondria."""


class Translation(Data):
    """The true protein."""

    protein: str = Field(min_length=1)
    """One letter a codon, `*` for a stop."""


class Reading(Data):
    """The predicted protein."""

    protein: str
    """One letter a codon, `*` for a stop."""
    confidence: list[float]
    """Probability of each letter."""


class GeneTranslation(Task[Gene, Translation, Reading]):
    """A coding sequence to its protein."""

    class Config(Frozen):
        """Fixed by training."""

        context: int = Field(default=200, ge=1)
        """Codons that the model reads at once; a longer gene is read in windows."""

    Input, Target, Output = Gene, Translation, Reading

    tokenizers: ClassVar[dict[str, str]] = {"gene": "anyformer_bio.tokenizers:Gene"}
    default_trunk = {"encoder": {"width": 64, "depth": 3, "attention": {"heads": 4}}}
    default_training = {
        "steps": 400,
        "records": 16,
        "tokens": 8192,
        "optimizer": {"name": "adamw", "lr": 4e-3, "weight_decay": 0.01},
        "schedule": {"name": "cosine", "warmup": 30},
    }
    demo = "anyformer_bio.demos:gene_translation"

    # -- data

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Short genes in several genetic codes; TGA, AGA and ATA are read differently by them."""
        return [
            {"dna": "ATGGCTTGGTAA", "table": 1, "protein": "MAW*"},
            {"dna": "ATGTGATGGTAA", "table": 2, "protein": "MWW*"},
            {"dna": "ATGTGATGG", "table": 1, "protein": "M*W"},
            {"dna": "ATAAAACGTAGA", "table": 2, "protein": "MKR*"},
            {"dna": "ATAAAACGTAGA", "table": 1, "protein": "IKRR"},
            {"dna": "CTTCTCGATGAAGGT", "table": 3, "protein": "TTDEG"},
            {"dna": "CTTCTCGATGAAGGT", "table": 1, "protein": "LLDEG"},
            {"dna": "TTTCATAATTAAGCC", "table": 6, "protein": "FHNQA"},
            {"dna": "TTTCATAATTAA", "table": 1, "protein": "FHN*"},
        ]

    def records(self, raw: Sequence[Any]) -> Sequence[Record[Gene, Translation]]:
        """A row is a record; a protein has one letter for each codon."""
        return Checked(super().records(raw), _check)

    def fit(self, records: Sequence[Record[Gene, Translation]]) -> dict[str, Any]:
        """The residues, and how often each codon is read as each: `labels` as text, `counts` int64 [64, C]."""
        counts: dict[str, Array] = {}
        for record in records:
            codons, letters = codons_of(record.input.dna), letters_of(record.target.protein)
            for letter in np.unique(letters):
                found = np.bincount(codons[letters == letter], minlength=NUM_CODONS + 1)[:NUM_CODONS]
                counts[chr(letter)] = counts.get(chr(letter), 0) + found
        labels = "".join(sorted(counts))
        return {"labels": labels, "counts": np.stack([counts[label] for label in labels], axis=1)}

    # -- model

    def encode(self, input: Gene, options: Any) -> list[Sample]:
        """One sample for each window: the token of the genetic code, then three tokens a codon."""
        ids = self.tokens["gene"].encode({"dna": input.dna, "table": input.table})["ids"]
        code, bases = ids[:1], ids[1:]
        return [
            Sample({"source": np.concatenate([code, bases[3 * w.start : 3 * w.stop]])})
            for w in self._windows(len(bases) // 3)
        ]

    def learn(self, record: Record[Gene, Translation], rng: Rng) -> list[Sample]:
        """As `encode`, with the residue of each codon at its third base."""
        residues = label_ids(record.target.protein, self.state["labels"])
        samples = self.encode(record.input, self.Options())
        for sample, window in zip(samples, self._windows(len(residues)), strict=True):
            labels = np.full(len(sample.parts["source"]), IGNORED, dtype=np.int64)
            labels[3::3] = inside(window, residues, IGNORED)
            sample.targets["labels"] = labels
        return samples

    def head(self, trunk: Trunk) -> Head:
        """A linear classifier of each token; only the third base of a codon is labelled and read."""
        from anyformer.heads import TokenClassifier

        return TokenClassifier(trunk.output.width, len(self.state["labels"]), dropout=trunk.output.dropout)

    def decode(self, input: Gene, samples: list[Sample], predictions: list[Prediction], options: Any) -> Reading:
        """The most probable residue of each codon."""
        pieces = [prediction.values["logits"][3::3] for prediction in predictions]
        return self._answer(probabilities_of(stitch(self._windows(len(input.dna) // 3), pieces)))

    # -- honesty

    def metrics(self) -> list[Metric]:
        """The share of residues that are right, and of proteins without an error."""
        from anyformer.metrics import ExactMatch, TokenAccuracy

        return [TokenAccuracy("protein"), ExactMatch("protein")]

    def baselines(self) -> dict[str, Callable[[Gene], Reading]]:
        """The most frequent residue; that of the first two bases; that of the codon, which is blind to the genetic code."""
        counts = self.state["counts"]
        first_two = np.repeat(counts.reshape(NUM_CODONS // 4, 4, -1).sum(axis=1), 4, axis=0)
        tables = {"majority": np.zeros_like(counts), "first-two-bases": first_two, "codon": counts}
        return {name: self._lookup(table) for name, table in tables.items()}

    def draw(self, input: Gene, output: Reading, target: Translation | None = None) -> Figure:
        """The codons in lines, the predicted protein above the true one, with the confidence above both."""
        from anyformer_bio.tracks import Kind, Track, draw_tracks

        kinds = [
            Kind("hydrophobic", "AVLIMFWYC", "#edae49"),
            Kind("polar or small", "STNQGP", "#c9d1d9"),
            Kind("positive", "KRH", "#6fa8dc"),
            Kind("negative", "DE", "#d1495b"),
            Kind("stop", "*", "#8c8c8c"),
        ]
        codons = [input.dna[place : place + 3] for place in range(0, len(input.dna), 3)]
        tracks = [Track("predicted", output.protein)]
        if target is not None:
            tracks.append(Track("true", target.protein))
        return draw_tracks(codons, tracks, kinds, output.confidence)

    def _windows(self, num_codons: int) -> list[Any]:
        """Windows of codons; nothing outside of a codon but the genetic code decides about it, so none overlap."""
        return windows(num_codons, self.config.context, overlap=0)

    def _answer(self, probabilities: Array) -> Reading:
        """Probabilities [L, C] to an answer."""
        best = probabilities.argmax(axis=-1)
        return Reading(
            protein="".join(self.state["labels"][index] for index in best),
            confidence=probabilities.max(axis=-1).round(6).tolist(),
        )

    def _lookup(self, counts: Array) -> Callable[[Gene], Reading]:
        """Reads each codon as its most counted residue [64, C]; an uncounted one as the most frequent residue of all."""
        everything = self.state["counts"].sum(axis=0)
        counts = np.vstack([counts, everything])
        counts = np.where(counts.any(axis=1, keepdims=True), counts, everything)
        shares = counts / counts.sum(axis=1, keepdims=True)
        return lambda input: self._answer(shares[codons_of(input.dna)])


def codons_of(dna: str) -> Array:
    """Index of each codon, int64 [L / 3]: 0 is AAA and 63 TTT, `NUM_CODONS` where a base is not plain."""
    bases = DNA.ids(dna).reshape(-1, 3)
    return np.where((bases < 4).all(axis=1), bases @ np.array([16, 4, 1]), NUM_CODONS)


def _check(record: Record[Gene, Translation]) -> None:
    num_codons, num_letters = len(record.input.dna) // 3, len(record.target.protein)
    if num_codons != num_letters:
        raise ValueError(
            f"dna has {num_codons} codons and protein {num_letters} letters; write one letter a codon, '*' for a stop"
        )
