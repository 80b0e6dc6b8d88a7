from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anyformer.nn import Pack, Part, Stream
from anyformer.task import Prediction
from anyformer_bio import composition
from anyformer_bio.heads.embedding import ProteinVector
from anyformer_bio.protein_embedding import ProteinEmbedding
from anyformer_bio.secondary_structure import Protein

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("lengths", [(3, 7, 4), (5, 5)])
def test_the_vector_is_the_mean_over_residues_or_the_start(lengths: tuple[int, ...]) -> None:
    x_TD = torch.randn(sum(lengths), 6, dtype=torch.float64)
    streams = {"source": Stream(x_TD, Pack.of(lengths))}
    pieces = x_TD.split(lengths)
    mean, none = ProteinVector(6)(streams)
    assert none is None
    torch.testing.assert_close(mean, torch.stack([piece[1:-1].mean(0) for piece in pieces]))
    head = ProteinVector(6, "first", num_values=1).double()
    first, values = head(streams, torch.tensor([1]))
    torch.testing.assert_close(first, pieces[1][:1])
    torch.testing.assert_close(values, head.output(pieces[1][:1]))


def test_the_loss_is_the_sum_of_squared_errors() -> None:
    streams = {"source": Stream(torch.randn(9, 4), Pack.of([4, 5]))}
    targets = {"values": Part(torch.tensor([0.5, -1.0]), Pack.of([1, 1]))}
    head = ProteinVector(4, num_values=1)
    found = head(streams)[1].flatten()
    assert head.loss(streams, targets)["loss"].item() == pytest.approx(
        sum((a - b) ** 2 for a, b in zip(found.tolist(), [0.5, -1.0], strict=True)), rel=1e-5
    )
    assert head.weigh(targets)["loss"].item() == 2
    with torch.no_grad():
        one, two = head.split(head(streams), streams)
    assert [p.values["residues"].shape for p in (one, two)] == [(2, 4), (3, 4)]
    np.testing.assert_allclose(one.values["residues"].mean(0), one.values["vector"], rtol=1e-5)


def test_values_are_scaled_and_scaled_back(fitted: Callable[..., Any]) -> None:
    rows = [{"sequence": "MKV", "value": 100.0}, {"sequence": "MKVV", "value": 300.0}]
    task = fitted(ProteinEmbedding, rows)
    samples = [task.learn(record, RNG)[0] for record in task.records(rows)]
    assert [sample.targets["values"].tolist() for sample in samples] == [[-1.0], [1.0]]
    assert samples[0].parts["source"].tolist() == [0, 20, 15, 7, 2]
    values = {"vector": np.ones(4, "f4"), "residues": np.ones((3, 4), "f4"), "values": np.array([-1.0], "f4")}
    answer = task.decode(Protein(sequence="MKV"), samples[:1], [Prediction(values)], task.Options())
    assert answer.value == pytest.approx(100.0)
    assert answer.residues is None
    answer = task.decode(Protein(sequence="MKV"), samples[:1], [Prediction(values)], task.Options(residues=True))
    assert len(answer.residues) == 3


def test_a_model_that_only_embeds_says_so(fitted: Callable[..., Any]) -> None:
    task = fitted(ProteinEmbedding, values=0)
    record = task.records(ProteinEmbedding.examples())[0]
    with pytest.raises(ValueError, match=r"this model only embeds .* set config.values to 1"):
        task.learn(record, RNG)
    task.state = {}
    values = {"vector": np.ones(4, "f4"), "residues": np.ones((3, 4), "f4")}
    answer = task.decode(record.input, task.encode(record.input, task.Options()), [Prediction(values)], task.Options())
    assert answer.value is None
    (baseline,) = task.baselines().values()
    rows = [metric.row(baseline(record.input), record.target) for metric in task.metrics()]
    assert np.isnan(rows[0][1])


def test_ridge_equals_its_formula_on_all_records() -> None:
    pairs = [("".join(RNG.choice(list("ACDEF"), RNG.integers(5, 30))), float(RNG.normal(50, 7))) for _ in range(40)]
    features = np.array([[*composition.composition(s), np.log(len(s))] for s, _ in pairs])
    values = np.array([value for _, value in pairs])
    deviations = np.where(features.std(0) > 0, features.std(0), 1)
    z = (features - features.mean(0)) / deviations
    weights = np.linalg.solve(z.T @ z + np.eye(26), z.T @ (values - values.mean()))
    sums = composition.products(pairs)
    found = [composition.predict(sequence, composition.ridge(sums)) for sequence, _ in pairs]
    np.testing.assert_allclose(found, values.mean() + z @ weights, rtol=1e-8)
    assert composition.mean_and_deviation(sums) == pytest.approx((values.mean(), values.std()))
    constant = composition.products([("MKV", 3.0)] * 4)
    assert composition.predict("WWW", composition.ridge(constant)) == pytest.approx(3.0)


def test_the_baseline_on_real_fluorescence(shared: Path, fitted: Callable[..., Any]) -> None:
    """Composition knows a little of what single mutations do, and the mean nothing."""
    from anyformer.data import open_data

    folder = shared / "data" / "protein" / "avgfp_fluorescence"
    columns = {"value": "score"}
    task = fitted(ProteinEmbedding, open_data(f"{folder}/train.csv.gz[:3000]", columns=columns))
    valid = task.records(open_data(f"{folder}/valid.csv.gz[:500]", columns=columns))
    metric = task.metrics()[0]
    scores = {
        name: metric.scores(np.array([metric.row(baseline(r.input), r.target) for r in valid]))["spearman"]
        for name, baseline in task.baselines().items()
    }
    assert np.isnan(scores["mean"])
    assert 0.1 < scores["composition"] < 0.6


def test_the_picture_names_both_values(fitted: Callable[..., Any]) -> None:
    task = fitted(ProteinEmbedding)
    input = Protein(sequence="MKVLA")
    answer = task.baselines()["composition"](input)
    figure = task.draw(input, answer, task.Target(value=2.5))
    assert len(figure.axes[0].patches) == 25
    assert "true 2.5" in figure.axes[0].get_title()
