"""Measures of several labels equal scikit-learn's; what is not known counts for nothing."""

from __future__ import annotations

import re
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from anyformer.metrics import LabelRanking, MultiLabelF1, RowStore

LABELS = [f"label {index}" for index in range(60)]


def made(num_labels: int, ties: bool, size: int = 80):
    """True labels, scores and what is known, [N, C]; the last label never applies and is never answered."""
    rng = np.random.default_rng(num_labels)
    true = rng.random((size, num_labels)) < 0.3
    scores = rng.random((size, num_labels)) * 0.8 + 0.2 * true
    scores = np.round(scores, 1 if ties else 9).astype(np.float32)
    true[:, -1], scores[:, -1] = False, 0.25
    return true, scores, rng.random((size, num_labels)) < 0.8


def rows_of(metric, true, scores, known):
    store = RowStore(metric)
    for t, s, k in zip(true, scores, known, strict=True):
        named = [LABELS[place] for place in np.flatnonzero(t)]
        output = SimpleNamespace(
            scores=dict(zip(LABELS, s.tolist(), strict=False)), labels=[LABELS[p] for p in np.flatnonzero(s >= 0.5)]
        )
        unknown = [LABELS[place] for place in np.flatnonzero(~k)]
        store.append(metric.row(output, SimpleNamespace(labels=named, unknown=unknown)))
    return store.rows


@pytest.mark.parametrize("ties", [False, True])
def test_rankings_equal_scikit_learn(ties):
    sklearn = pytest.importorskip("sklearn.metrics")
    true, scores, known = made(5, ties)
    metric = LabelRanking(LABELS[:5])
    pairs = [(true[k, c], scores[k, c]) for c in range(4) for k in [known[:, c]]]  # the fifth never applies
    found = metric.scores(rows_of(metric, true, scores, known))
    assert found["macro_roc_auc"] == pytest.approx(np.mean([sklearn.roc_auc_score(*pair) for pair in pairs]), abs=1e-12)
    expected = np.mean([sklearn.average_precision_score(*pair) for pair in pairs])
    assert found["mean_average_precision"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("num_labels", [3, 48, 60])
def test_f1_equals_scikit_learn(num_labels):
    sklearn = pytest.importorskip("sklearn.metrics")
    true, scores, known = made(num_labels, ties=False)
    metric = MultiLabelF1(LABELS[:num_labels])
    rows = rows_of(metric, true, scores, known)
    assert rows.itemsize * rows.shape[1] == 16 * -(-num_labels // 48)
    found = metric.scores(rows)
    pair = true & known, (scores >= 0.5) & known
    for average in ("micro", "macro"):
        expected = sklearn.f1_score(*pair, average=average, zero_division=np.nan)
        assert found[f"{average}_f1"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", [LabelRanking, MultiLabelF1])
def test_counting_rows_equals_repeating_them(kind):
    metric = kind(LABELS[:4])
    rows = rows_of(metric, *made(4, ties=True))
    counts = np.random.default_rng(1).integers(0, 4, (5, len(rows))).astype(np.float64)
    found = metric.weighted(rows, counts)
    for way, count in enumerate(counts):
        expected = metric.scores(np.repeat(rows, count.astype(int), axis=0))
        assert {name: values[way] for name, values in found.items()} == pytest.approx(expected, rel=1e-12)


def test_what_is_not_defined_is_nan():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for metric in (LabelRanking(["a"]), MultiLabelF1(["a"])):
            for unknown in ([], ["a"]):
                output, target = (
                    SimpleNamespace(scores={"a": 0.0}, labels=[]),
                    SimpleNamespace(labels=[], unknown=unknown),
                )
                rows = np.array([metric.row(output, target)], dtype=metric.dtype)
                assert all(np.isnan(value) for value in metric.scores(rows).values())


def test_labels_and_scores_that_do_not_fit_are_named():
    target = SimpleNamespace(labels=["z"], unknown=[])
    with pytest.raises(ValueError, match=re.escape("the label 'z' is not one of the 2 known: 'a', 'b'")):
        MultiLabelF1(["a", "b"]).row(SimpleNamespace(labels=[]), target)
    with pytest.raises(ValueError, match="the answer has no score for 'b'; it must have one for each label"):
        LabelRanking(["a", "b"]).row(SimpleNamespace(scores={"a": 0.5}), target)
