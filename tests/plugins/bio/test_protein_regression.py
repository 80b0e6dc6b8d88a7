from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from anyformer.task import Prediction
from anyformer_bio import one_hot
from anyformer_bio.protein_regression import ProteinRegression
from anyformer_bio.secondary_structure import Protein

RNG = np.random.default_rng(0)


def test_numbers_are_learned_scaled_and_answered_in_their_unit(fitted: Callable[..., Any]) -> None:
    rows = [{"sequence": "MKV", "value": 100.0}, {"sequence": "MKVV", "value": 300.0}]
    task = fitted(ProteinRegression, rows)
    samples = [task.learn(record, RNG)[0] for record in task.records(rows)]
    assert [sample.targets["values"].tolist() for sample in samples] == [[[-1.0]], [[1.0]]]
    assert samples[0].parts["source"].tolist() == [0, 20, 15, 7, 2]
    prediction = Prediction({"values": np.array([-0.5], "f4")})
    assert task.decode(Protein(sequence="MKV"), samples[:1], [prediction], None).value == pytest.approx(150.0)


def test_one_hot_is_ridge_on_substitutions() -> None:
    wild, letters = "MKVLAGST", "ACDEFGHIKLMNPQRSTVWY"
    sequences = ["".join(RNG.choice(list(letters)) if RNG.random() < 0.2 else x for x in wild) for _ in range(80)]
    sequences[5] = sequences[5][:6]
    values = RNG.normal(50, 7, 80)
    state = one_hot.fit(sequences, values.tolist())
    has = np.array([
        [x not in (w, " ") and x == letter for x, w in zip(s.ljust(8), wild, strict=True) for letter in letters]
        for s in sequences
    ])  # fmt: skip
    true = Ridge(alpha=1.0).fit(has.astype(float), values).predict(has)
    np.testing.assert_allclose([one_hot.predict(s, state) for s in sequences], true, rtol=1e-5)
    assert one_hot.predict(wild, state) == pytest.approx(state["intercept"])
    assert one_hot.predict(wild + "WWW", state) == one_hot.predict(wild[:3], state), "what it never saw says nothing"


def test_the_baselines_on_real_fitness(shared: Path, fitted: Callable[..., Any]) -> None:
    """Substitutions know most of what few mutations do, composition some, and the mean nothing."""
    from anyformer.data import open_data

    folder = shared / "data" / "protein" / "flip_gb1"
    task = fitted(ProteinRegression, open_data(folder / "train.csv.gz", columns={"value": "target"}))
    valid = task.records(open_data(folder / "valid.csv.gz", columns={"value": "target"}))
    (metric,) = task.metrics()
    assert metric.names[0] == "spearman"
    scores = {
        name: metric.scores(np.array([metric.row(baseline(r.input), r.target) for r in valid]))["spearman"]
        for name, baseline in task.baselines().items()
    }
    assert np.isnan(scores["mean"])
    assert 0.4 < scores["composition"] < 0.55 < 0.65 < scores["one_hot"] < 0.8


def test_no_record_is_too_few(fitted: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="the training data has no record to learn from"):
        fitted(ProteinRegression, [])


def test_the_picture_names_both_numbers(fitted: Callable[..., Any]) -> None:
    task = fitted(ProteinRegression)
    figure = task.draw(Protein(sequence="MKVLA"), task.Output(value=3.0), task.Target(value=2.5))
    said = {text.get_text() for text in figure.axes[0].get_legend().get_texts()}
    assert {"predicted 3", "true 2.5"} <= said
