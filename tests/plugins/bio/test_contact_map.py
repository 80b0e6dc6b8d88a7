from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyformer.task import Prediction, validate
from anyformer_bio import contacts as arithmetic
from anyformer_bio.contact_map import Chain, ContactMap, Contacts, Fold, labels

RNG = np.random.default_rng(0)


def test_pairs_and_coordinates_say_the_same() -> None:
    ca = [(4.0 * index, 0.0, 0.0) for index in range(8)] + [(4.0 * (15 - index), 7.0, 0.0) for index in range(8, 16)]
    near = [(i, j) for i in range(16) for j in range(i + 6, 16) if np.linalg.norm(np.subtract(ca[i], ca[j])) < 8]
    assert near
    from_places, from_pairs = labels(16, Fold(ca=ca)), labels(16, Fold(contacts=[(j, i) for i, j in near]))
    assert (from_places == from_pairs).all()
    first, second = arithmetic.pairs_of(16)
    assert [(i, j) for i, j, touch in zip(first, second, from_pairs, strict=True) if touch == 1] == near


def test_beta_carbons_come_first_and_unresolved_residues_are_unknown() -> None:
    ca = [(100.0 * index, 0.0, 0.0) for index in range(8)]
    cb: list[Any] = [(0.0, 0.0, 0.0), (0.0, 0.0, 0.0), *[None] * 4, (0.0, 0.0, 7.9), (0.0, 0.0, 8.0)]
    assert labels(8, Fold(ca=ca, cb=cb)).tolist() == [1, 0, 0]  # pairs 0-6, 0-7, 1-7; 8 angstrom is no contact
    assert labels(8, Fold(ca=[None, *ca[1:]])).tolist() == [-100, -100, 0]


def test_an_answer_has_all_probable_pairs_and_the_best_of_each_range(fitted: Callable[..., Any]) -> None:
    task = fitted(ContactMap)
    input = Chain(sequence="ACDEFGHIKLMNPQRSTVWYACDEFGHIKLMNPQRSTVWY")
    first, second = arithmetic.pairs_of(40)
    logits = RNG.normal(-8, 1, len(first)).astype(np.float32)
    logits[:100] = 5.0
    answer = task.decode(input, [], [Prediction({"logits": logits})], task.Options())
    found = {(i, j): p for i, j, p in answer.contacts}
    shares = 1 / (1 + np.exp(-logits.astype(float)))
    for place, pair in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        separation = pair[1] - pair[0]
        alike = next(r for r in ("long_range", "medium_range", "short_range") if arithmetic.in_range(separation, r))
        rank = (shares[arithmetic.in_range(second - first, alike)] > shares[place]).sum()
        assert (pair in found) == (shares[place] >= 0.5 or rank < 40)
        if pair in found:
            assert found[pair] == pytest.approx(shares[place], rel=1e-6)
    everything = task.decode(input, [], [Prediction({"logits": logits})], task.Options(threshold=0))
    assert len(everything.contacts) == len(first)


def test_precision_equals_a_naive_count(fitted: Callable[..., Any]) -> None:
    length = 50
    first, second = arithmetic.pairs_of(length)
    shares = RNG.random(len(first)).round(2)  # with ties
    true = RNG.random(len(first)) < 0.3
    fold = Fold(contacts=list(zip(first[true].tolist(), second[true].tolist(), strict=True)))
    output = Contacts(length=length, contacts=list(zip(first.tolist(), second.tolist(), shares.tolist(), strict=True)))
    (metric,) = fitted(ContactMap).metrics()
    expected = []
    for low, high in ((24, 99), (12, 24)):
        ranked = sorted(
            (-share, i, j, touch)
            for share, i, j, touch in zip(shares, first, second, true, strict=True)
            if low <= j - i < high
        )
        expected += [np.mean([touch for *_, touch in ranked[:count]]) for count in (10, 25, 50)]
    assert metric.row(output, fold) == pytest.approx(expected)


def test_each_protein_counts_once_and_unknown_pairs_not_at_all(fitted: Callable[..., Any]) -> None:
    (metric,) = fitted(ContactMap).metrics()
    short = Contacts(length=14, contacts=[(0, 12, 0.9), (0, 13, 0.8), (1, 13, 0.7)])
    row = metric.row(short, Fold(contacts=[(0, 13)]))
    assert np.isnan(row[:3]).all()  # nothing is 24 apart
    assert row[3:] == [0.5, 1 / 3, 1 / 3]
    places = [(0.0, 0.0, float(index)) for index in range(14)]
    assert metric.row(short, Fold(ca=[None, *places[1:]]))[3:] == [0.0, 0.0, 0.0]  # only the pair 1, 13 is known
    scores = metric.scores(np.array([row, [1.0, 0, 0, 1, 0, 0]]))
    assert scores["long_range_L5"] == 1.0
    assert scores["medium_range_L5"] == 0.75
    assert np.isnan(metric.scores(np.array([row]))["long_range_L"])


def test_separation_counts_contacts(fitted: Callable[..., Any]) -> None:
    rows = [{"sequence": "A" * 9, "contacts": [(0, 6), (1, 7), (0, 8)]}, {"sequence": "A" * 8, "contacts": []}]
    task = fitted(ContactMap, rows)
    assert task.state["known"][6:10].tolist() == [5, 3, 1, 0]
    assert task.state["contacts"][6:10].tolist() == [2, 0, 1, 0]
    found = {(i, j): p for i, j, p in task.baselines()["separation"](Chain(sequence="A" * 10)).contacts}
    assert found[0, 6] == found[3, 9] == pytest.approx((2 + 3 / 9) / 6)
    assert found[0, 9] == pytest.approx(3 / 9)  # never seen
    task.state = {}
    found = {(i, j): p for i, j, p in task.baselines()["separation"](Chain(sequence="A" * 10)).contacts}
    assert found[0, 6] > found[0, 9] > 0


def test_bad_rows_are_named(fitted: Callable[..., Any]) -> None:
    task = fitted(ContactMap, longest=20)
    for row, message in [
        (
            {"sequence": "MKVLAA", "contacts": []},
            r"row 1: 'sequence': 6 residues have no pair: .* 7 residues are needed",
        ),
        ({"sequence": "MKVLAAG"}, r"row 1: 'value': give contacts, or the coordinates ca and cb, and not both"),
        (
            {"sequence": "MKVLAAG", "ca": [[0, 0, 0]]},
            r"row 1: sequence has 7 residues and ca 1 places; they must agree",
        ),
        ({"sequence": "MKVLAAG", "contacts": [[0, 7]]}, r"row 1: the contact \[0, 7\] is outside of 7 residues"),
    ]:
        with pytest.raises(ValueError, match=message):
            task.records([row])[0]
    with pytest.raises(ValueError, match=r"the chain has 21 residues; at most 20 are read \(config.longest\)"):
        task.encode(validate(Chain, {"sequence": "A" * 21}, "input 1"), task.Options())


def test_the_baseline_on_real_chains(shared: Path, fitted: Callable[..., Any]) -> None:
    """Separation alone finds few contacts of long range, and more of medium range."""
    from anyformer.data import open_data

    file = shared / "data" / "protein" / "pdb_chains" / "chains.jsonl.gz"
    task = fitted(ContactMap, open_data(f"{file}[:100]"))
    records = task.records(open_data(f"{file}[100:]"))
    (metric,) = task.metrics()
    separation = task.baselines()["separation"]
    scores = metric.scores(np.array([metric.row(separation(r.input), r.target) for r in records]))
    assert 0.01 < scores["long_range_L5"] < 0.2
    assert scores["long_range_L5"] < scores["medium_range_L5"] < 0.3


def test_the_picture_shows_both_halves(fitted: Callable[..., Any]) -> None:
    task = fitted(ContactMap)
    input, output = Chain(sequence="ACDEFGHIKL"), Contacts(length=10, contacts=[(0, 8, 0.9)])
    figure = task.draw(input, output, Fold(contacts=[(1, 9)]))
    axis = figure.axes[0]
    assert axis.images[0].get_array()[0, 8] == 0.9
    (line,) = axis.lines
    assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == ([1], [9])
