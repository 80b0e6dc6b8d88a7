from __future__ import annotations

from collections.abc import Callable
from math import exp, log
from typing import Any

import numpy as np
import pytest

from anyformer.task import Prediction, validate
from anyformer_bio.esm_tokenizer import FIRST, LETTERS, TOKENS, Esm
from anyformer_bio.fill_mask import FillMask, Masked
from anyformer_bio.hiding import HiddenResidues

RNG = np.random.default_rng(0)


def test_each_hidden_place_gets_its_own_candidates(fitted: Callable[..., Any]) -> None:
    task = fitted(FillMask)
    input = Masked(sequence="m_K <mask>")
    assert input.sequence == "M_K_"
    (sample,) = task.encode(input, task.Options())
    assert sample.parts["source"].tolist() == [0, TOKENS.index("M"), 32, TOKENS.index("K"), 32, 2]
    logits = RNG.normal(size=(6, 33)).astype(np.float32)
    logits[2, TOKENS.index("W")] = logits[4, TOKENS.index("C")] = 9
    logits[4, TOKENS.index("-")] = 20  # the likeliest token is no residue
    answer = task.decode(input, [sample], [Prediction({"logits": logits})], task.Options(top=3))
    assert answer.sequence == "MWKC"
    assert [place.place for place in answer.places] == [1, 3]
    wide = np.exp(logits.astype(np.float64))
    for place in answer.places:
        shares = wide[place.place + 1] / wide[place.place + 1].sum()
        best = sorted(LETTERS, key=lambda letter: -shares[TOKENS.index(letter)])[:3]
        assert list(place.candidates) == best
        assert list(place.candidates.values()) == pytest.approx([shares[TOKENS.index(x)] for x in best], rel=1e-6)


def test_training_hides_other_residues_than_the_row(fitted: Callable[..., Any]) -> None:
    task = fitted(FillMask)
    rows = [{"sequence": "_" * 400, "filled": "ACDEFGHIKL" * 40}]
    (sample,) = task.learn(task.records(rows)[0], RNG)
    seen, labels = sample.parts["source"], sample.targets["labels"]
    whole = Esm(Esm.Config()).single(Esm(Esm.Config()).encode("ACDEFGHIKL" * 40)["ids"])
    learned = labels != -100
    assert 30 < learned.sum() < 90
    assert (labels[learned] == whole[learned]).all()
    assert (seen[~learned] == whole[~learned]).all()
    assert (seen[[0, -1]] == [0, 2]).all()
    assert 0.6 < (seen[learned] == 32).mean() < 0.95


def test_a_whole_protein_is_evaluated_with_the_same_residues_hidden(fitted: Callable[..., Any]) -> None:
    task = fitted(FillMask)
    whole = "ACDEFGHIKLMNPQRSTVWY" * 10
    rows = [{"sequence": whole}, {"sequence": "A"}]
    first, again = task.records(rows)[0], task.records(rows[1:] + rows[:1])[1]
    assert first == again
    assert first.target.filled == whole
    assert 15 < first.input.sequence.count("_") < 50
    assert all(seen in ("_", true) for seen, true in zip(first.input.sequence, whole, strict=True))
    assert task.records(rows)[1].input.sequence == "_"  # at least one
    assert task.records(rows)[1:][0].target.filled == "A"


def test_scores_are_those_of_counting(fitted: Callable[..., Any]) -> None:
    task = fitted(FillMask, [{"sequence": "AAAAAGGGKV"}])
    assert task.state["counts"][LETTERS.index("A")] == 5
    background = task.baselines()["background"]
    answer = background(Masked(sequence="___M"))
    assert answer.sequence == "AAAM"
    true = task.Target(filled="AGWM")
    metric = HiddenResidues()
    scores = metric.scores(np.array([metric.row(answer, true)]))
    expected = exp(-(log(6 / 35) + log(4 / 35) + log(1 / 35)) / 3)
    assert scores == pytest.approx({"accuracy": 1 / 3, "accuracy@5": 2 / 3, "perplexity": expected}, rel=1e-6)
    task.state = {}  # a checkpoint's model was never fitted here
    assert set(task.baselines()["background"](Masked(sequence="_")).places[0].candidates.values()) == {1 / 25}


def test_bad_rows_are_named(fitted: Callable[..., Any]) -> None:
    task = fitted(FillMask)
    for row, message in [
        ({"sequence": "MK-V"}, r"row 1: 'sequence': '-' at position 3 is no letter of a protein sequence"),
        ({"sequence": "M_K"}, r"row 1: 'filled' is missing"),
        ({"sequence": "M_K", "filled": "MKKV"}, r"row 1: sequence has 3 residues and filled 4; they must agree"),
        (
            {"sequence": "M_K", "filled": "AKK"},
            r"row 1: residue 1 is 'M' in sequence and 'A' in filled; they may differ",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            task.records([row])[0]
    with pytest.raises(ValueError, match="no residue is hidden; write _ or <mask> for each residue"):
        validate(Masked, {"sequence": "MKV"}, "input 1")


def test_the_picture_marks_the_truth(fitted: Callable[..., Any]) -> None:
    task = fitted(FillMask)
    input = Masked(sequence="M_K_")
    figure = task.draw(input, task.baselines()["background"](input), task.Target(filled="MWKV"))
    (line,) = figure.axes[0].lines
    assert line.get_ydata().tolist() == [LETTERS.index("W"), LETTERS.index("V")]
    assert figure.axes[0].images[0].get_array().shape == (25, 2)
    assert FIRST + LETTERS.index("L") == TOKENS.index("L")
