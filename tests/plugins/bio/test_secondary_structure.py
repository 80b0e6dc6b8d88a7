from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from anyformer.task import Prediction, Record, validate
from anyformer_bio.secondary_structure import Assignment, Protein, SecondaryStructure, Structure
from anyformer_bio.tokenizers import PROTEIN

RNG = np.random.default_rng(0)


def record(sequence: str, label: str, mask: str | None = None) -> Record[Protein, Structure]:
    return Record(Protein(sequence=sequence), Structure(label=label, mask=mask))


def naive_gor(rows: list[dict[str, Any]], sequence: str) -> str:
    """The same method residue by residue, with dictionaries."""
    seen: dict[str, Counter[tuple[int, str]]] = {}
    prior: Counter[str] = Counter()
    for row in rows:
        for place, label in enumerate(row["label"]):
            if row.get("mask", "1" * len(row["label"]))[place] == "0":
                continue
            prior[label] += 1
            for offset in range(-8, 9):
                near = place + offset
                letter = row["sequence"][near] if 0 <= near < len(row["sequence"]) else "outside"
                seen.setdefault(label, Counter())[(offset, letter)] += 1
    answer = ""
    for place in range(len(sequence)):
        scores = {}
        for label in sorted(prior):
            scores[label] = log(prior[label] / sum(prior.values()))
            for offset in range(-8, 9):
                near = place + offset
                letter = sequence[near] if 0 <= near < len(sequence) else "outside"
                scores[label] += log((seen[label][(offset, letter)] + 1) / (prior[label] + len(PROTEIN.letters) + 1))
        answer += max(scores, key=lambda label: scores[label])
    return answer


def random_rows(count: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(3)
    rows = []
    for _ in range(count):
        length = int(rng.integers(1, 40))
        row = {name: "".join(rng.choice(list(letters), length)) for name, letters in
               {"sequence": "ACDEFGHIKLMNPQRSTVWYX", "label": "HEC", "mask": "01"}.items()}  # fmt: skip
        rows.append(row)
    return rows


def test_gor_equals_a_naive_loop(fitted: Callable[..., Any]) -> None:
    rows = random_rows(30)
    gor = fitted(SecondaryStructure, rows).baselines()["gor"]
    for row in rows:
        assert gor(Protein(sequence=row["sequence"])).label == naive_gor(rows, row["sequence"])


def test_majority_is_the_most_frequent_resolved_label(fitted: Callable[..., Any]) -> None:
    rows = [{"sequence": "AAAAAA", "label": "CCCCEE", "mask": "000111"}]
    task = fitted(SecondaryStructure, rows)
    assert task.state["labels"] == "CE"
    answer = task.baselines()["majority"](Protein(sequence="MKV"))
    assert answer.label == "EEE"
    assert answer.confidence == pytest.approx([2 / 3] * 3, abs=1e-6)


def test_unresolved_residues_have_no_label_and_no_score(fitted: Callable[..., Any]) -> None:
    task = fitted(SecondaryStructure, [{"sequence": "AAAA", "label": "HEC-", "mask": "1110"}])
    assert task.state["labels"] == "CEH"
    (sample,) = task.learn(record("AAAAA", "HH?EC", "01011"), RNG)
    assert sample.targets["labels"].tolist() == [-100, 2, -100, 1, 0]
    (metric,) = task.metrics()
    right = metric.row(Assignment(label="CHCEE", confidence=[1] * 5), Structure(label="HHHEC", mask="01011"))
    assert list(right) == [2, 3]


def test_a_long_protein_is_read_in_windows_and_every_residue_answered(fitted: Callable[..., Any]) -> None:
    task = fitted(SecondaryStructure, context=20, overlap=6)
    rng = np.random.default_rng(1)
    sequence, label = ("".join(rng.choice(list(letters), 101)) for letters in ("ACDEFGHIKLMNPQRSTVWY", "CEH"))
    samples = task.learn(record(sequence, label), RNG)
    assert len(samples) == 7
    labels = [sample.targets["labels"] for sample in samples]
    assert sum(int((ids >= 0).sum()) for ids in labels) == 101  # each residue weighs once in the loss
    predictions = [Prediction({"logits": np.eye(3, dtype=np.float32)[np.maximum(ids, 0)] * 9}) for ids in labels]
    answer = task.decode(Protein(sequence=sequence), samples, predictions, task.Options(probabilities=True))
    assert answer.label == label
    assert len(answer.confidence) == len(answer.probabilities["H"]) == 101
    assert sum(answer.probabilities[name][50] for name in "CEH") == pytest.approx(1, abs=1e-5)


def test_probabilities_come_only_when_asked_for(fitted: Callable[..., Any]) -> None:
    assert fitted(SecondaryStructure).baselines()["gor"](Protein(sequence="MK")).probabilities is None


def test_lengths_that_differ_are_refused_with_the_row() -> None:
    task = SecondaryStructure(SecondaryStructure.Config(), {})
    rows = [{"sequence": "MKV", "label": "HHH"}, {"sequence": "MKV", "label": "HH"}]
    assert len(task.records(rows)) == 2
    assert task.records(rows)[0].target.label == "HHH"
    for bad in (lambda: task.records(rows)[1], lambda: task.records(rows)[1:][0], lambda: list(task.records(rows))):
        with pytest.raises(ValueError, match="row 2: sequence has 3 residues and label 2 letters; they must agree"):
            bad()
    with pytest.raises(ValueError, match=r"row 1: .*label has 3 letters and mask 2 digits; they must agree"):
        task.records([{"sequence": "MKV", "label": "HHH", "mask": "01"}])[0]


def test_other_bad_input(fitted: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"row 1: 'sequence': '-' at position 3 is no letter of a protein sequence"):
        validate(Protein, {"sequence": "MK-V"}, "row 1")
    with pytest.raises(ValueError, match="the training part has no resolved residue"):
        fitted(SecondaryStructure, [{"sequence": "MK", "label": "HH", "mask": "00"}])
    task = fitted(SecondaryStructure, [{"sequence": "MKV", "label": "HEC"}])
    with pytest.raises(ValueError, match="the label 'G' at position 2 is not in the training part, which has C E H"):
        task.learn(record("MKV", "HGC"), RNG)
    with pytest.raises(ValidationError, match="overlap 512 must be smaller than context 512"):
        SecondaryStructure.Config(overlap=512)
    with pytest.raises(ValueError, match="has 100,001 residues; at most 100,000 are read"):
        task.encode(Protein(sequence="A" * 100_001), task.Options())


def test_the_picture_shows_truth_and_gaps(fitted: Callable[..., Any]) -> None:
    task = fitted(SecondaryStructure)
    sequence = "MKVLAC" * 30
    answer = task.baselines()["gor"](Protein(sequence=sequence))
    figure = task.draw(Protein(sequence=sequence), answer, Structure(label="HEG" * 60, mask="011" * 60))
    assert len(figure.axes) == 3  # lines of 60 residues
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"strand", "G"} <= set(names)
    assert len(task.draw(Protein(sequence="MK"), task.baselines()["gor"](Protein(sequence="MK"))).axes) == 1


def test_gor_on_real_proteins(shared: Path, fitted: Callable[..., Any]) -> None:
    """As good as GOR I is known to be, 55 to 65 %, and well above the majority."""
    from anyformer.data import open_data

    folder = shared / "data" / "protein" / "flip_secondary_structure"
    task = fitted(SecondaryStructure, open_data(f"{folder}/train.jsonl.gz[:1500]"))
    assert task.state["labels"] == "CEH"
    (metric,) = task.metrics()
    valid = task.records(open_data(f"{folder}/valid.jsonl.gz[:300]"))
    scores = {
        name: metric.scores(np.array([metric.row(baseline(r.input), r.target) for r in valid]))["accuracy"]
        for name, baseline in task.baselines().items()
    }
    assert 0.35 < scores["majority"] < 0.45
    assert 0.58 < scores["gor"] < 0.65
