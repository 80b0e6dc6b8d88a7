from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from Bio.Seq import Seq

from anyformer.task import Prediction, Record, validate
from anyformer_bio.demos import DEMO_TABLES, gene, gene_translation
from anyformer_bio.gene_translation import Gene, GeneTranslation, Translation

RNG = np.random.default_rng(0)


def test_examples_and_demo_equal_biopython() -> None:
    rng = np.random.default_rng(1)
    rows = [*GeneTranslation.examples(), *(gene(rng) for _ in range(100))]
    for row in rows:
        assert row["protein"] == str(Seq(row["dna"]).translate(table=row["table"])), row


def test_the_demo_holds_out_its_genes_and_uses_every_code() -> None:
    demo = gene_translation()
    assert not {row["dna"] for row in demo.train} & {row["dna"] for row in demo.valid}
    assert {row["table"] for row in demo.train} == {row["table"] for row in demo.valid} == set(DEMO_TABLES)
    assert all("*" not in row["protein"][:-1] and row["protein"][-1] == "*" for row in demo.train)
    assert gene_translation().train[0] == demo.train[0]


def test_the_third_base_carries_the_residue(fitted: Callable[..., Any]) -> None:
    task = fitted(GeneTranslation)
    (sample,) = task.learn(Record(Gene(dna="auguga", table=2), Translation(protein="MW")), RNG)
    names = "".join(task.state["labels"][index] if index >= 0 else "." for index in sample.targets["labels"])
    assert names == "...M..W"
    assert task.tokens["gene"].decode(sample.parts["source"]) == {"dna": "ATGTGA", "table": 2}


def test_a_long_gene_is_read_in_windows_of_codons_that_know_the_code(fitted: Callable[..., Any]) -> None:
    task = fitted(GeneTranslation, context=4)
    codons = {"ATG": "M", "GCC": "A", "TGG": "W"}
    chosen = np.random.default_rng(2).choice(list(codons), 30)
    dna, protein = "".join(chosen), "".join(codons[codon] for codon in chosen)
    samples = task.learn(Record(Gene(dna=dna, table=9), Translation(protein=protein)), RNG)
    assert len(samples) == 8
    for sample in samples:
        read = task.tokens["gene"].decode(sample.parts["source"])
        assert read["table"] == 9
        assert len(read["dna"]) == 12
        assert read["dna"] in [dna[start : start + 12] for start in range(0, 90, 3)]
    size = len(task.state["labels"])
    logits = [np.eye(size, dtype=np.float32)[np.maximum(s.targets["labels"], 0)] * 9 for s in samples]
    answer = task.decode(Gene(dna=dna, table=9), samples, [Prediction({"logits": x}) for x in logits], task.Options())
    assert answer.protein == protein
    assert len(answer.confidence) == 30


def test_baselines_count_codons(fitted: Callable[..., Any]) -> None:
    rows = [
        {"dna": "TTTTTTTTCTTA", "table": 1, "protein": "FFFL"},
        {"dna": "TGATGATGAGCA", "table": 2, "protein": "WWWA"},
        {"dna": "TGA", "table": 1, "protein": "*"},
    ]
    task = fitted(GeneTranslation, rows)
    asked = Gene(dna="TGATTATTGCCCTTNGCG", table=1)
    answers = {name: baseline(asked).protein for name, baseline in task.baselines().items()}
    # F and W are seen three times each, and the first of them in the alphabet is taken where nothing else is known.
    assert answers == {"majority": "FFFFFF", "first-two-bases": "WFFFFA", "codon": "WLFFFF"}
    assert task.baselines()["codon"](asked).confidence[0] == pytest.approx(3 / 4)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"dna": "ATGG", "protein": "M"}, "'dna': 4 bases are no whole number of codons: 1 too many; give the reading"),
        (
            {"dna": "ATGGA-", "protein": "MD"},
            "'dna': '-' at position 6 is no letter of a DNA sequence; the letters are",
        ),
        ({"dna": "", "protein": "M"}, "'dna': the DNA sequence is empty"),
        ({"dna": "ATG", "table": 7, "protein": "M"}, "'table': there is no genetic code 7; NCBI lists 1, 2, 3"),
        (
            {"dna": "ATGTAA", "protein": "M"},
            "dna has 2 codons and protein 1 letters; write one letter a codon, '*' for",
        ),
    ],
)
def test_bad_input_is_one_line(row: dict[str, Any], said: str) -> None:
    task = GeneTranslation(GeneTranslation.Config(), {})
    with pytest.raises(ValueError, match="row 1: ") as caught:
        task.records([row])[0]
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_standard_code_is_the_default() -> None:
    assert validate(Gene, {"dna": "ATG"}, "input").table == 1


def test_scores_and_picture(fitted: Callable[..., Any]) -> None:
    task = fitted(GeneTranslation)
    record = task.records(task.examples())[1]
    answer = task.baselines()["codon"](record.input)
    accuracy, exact = task.metrics()
    assert list(accuracy.row(answer, record.target)) == [3, 4]  # TGA is a stop of table 1 as often as W of table 2
    assert list(exact.row(answer, record.target)) == [0, 1]
    figure = task.draw(record.input, answer, record.target)
    assert len(figure.axes) == 1
