"""Metrics equal the reference implementations; intervals cover what they promise; rows stay small."""

from __future__ import annotations

import re
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from anyformer.metrics import (
    R2,
    Accuracy,
    ExactMatch,
    MacroF1,
    Matthews,
    OneNumber,
    Pearson,
    RowStore,
    Spearman,
    SquaredError,
    TokenAccuracy,
    Weighted,
    bootstrap,
)

LABELS = ["a", "b", "c", "never"]


def rows_of(metric, outputs, targets, field="label"):
    store = RowStore(metric)
    for output, target in zip(outputs, targets, strict=True):
        store.append(metric.row(SimpleNamespace(**{field: output}), SimpleNamespace(**{field: target})))
    return store.rows


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def labels(rng):
    true = rng.choice(LABELS[:3], 200, p=[0.6, 0.3, 0.1])
    return np.where(rng.random(200) < 0.6, true, rng.choice(LABELS[:3], 200)), true


@pytest.fixture
def pairs(rng):
    true = rng.normal(size=120) + 50_000.0
    return true + rng.normal(size=120), true


def test_labels_equal_scikit_learn(labels):
    sklearn = pytest.importorskip("sklearn.metrics")
    predicted, true = labels
    assert Accuracy().scores(rows_of(Accuracy(), predicted, true)) == {"accuracy": np.mean(predicted == true)}
    f1, matthews = MacroF1(LABELS), Matthews(LABELS)
    expected = sklearn.f1_score(true, predicted, average="macro")
    assert f1.scores(rows_of(f1, predicted, true))["macro_f1"] == pytest.approx(expected, abs=1e-12)
    expected = sklearn.matthews_corrcoef(true, predicted)
    assert matthews.scores(rows_of(matthews, predicted, true))["matthews"] == pytest.approx(expected, abs=1e-12)
    two = np.isin(predicted, ["a"]), np.isin(true, ["a"])
    binary = Matthews([False, True])
    expected = sklearn.matthews_corrcoef(two[1], two[0])
    assert binary.scores(rows_of(binary, *two))["matthews"] == pytest.approx(expected, abs=1e-12)


def test_one_label_only():
    f1, matthews = MacroF1(LABELS), Matthews(LABELS)
    assert f1.scores(rows_of(f1, "aaa", "aaa")) == {"macro_f1": 1.0}
    assert matthews.scores(rows_of(matthews, "aaa", "aaa")) == {"matthews": 0.0}


def test_an_unknown_label_is_refused():
    with pytest.raises(ValueError, match=re.escape("the label 'z' is not one of the 4 known: 'a', 'b', 'c', 'never'")):
        rows_of(MacroF1(LABELS), "a", "z")


def test_getters_are_fields_or_functions():
    output, target = SimpleNamespace(answer=[1, 2]), SimpleNamespace(truth=[1, 2])
    assert Accuracy("answer", "truth").row(output, target) == (1.0, 1.0)
    assert (
        ExactMatch(predicted=lambda given: given.answer[0], true=lambda given: given.truth[1]).row(output, target)[0]
        == 0
    )
    assert ExactMatch("answer", "truth").scores(np.array([[1, 1], [0, 1]])) == {"exact_match": 0.5}


def test_token_accuracy_counts_tokens_not_records():
    metric = TokenAccuracy("label", "mask")
    rows = [
        metric.row(SimpleNamespace(label="HHEC"), SimpleNamespace(label="HHHC", mask="1011")),
        metric.row(SimpleNamespace(label="H"), SimpleNamespace(label="E", mask=None)),
        metric.row(SimpleNamespace(label=[1, 2]), SimpleNamespace(label=[1, 3], mask=[True, False])),
        metric.row(SimpleNamespace(label=""), SimpleNamespace(label="", mask="")),
    ]
    assert rows == [(2.0, 3.0), (0.0, 1.0), (1.0, 1.0), (0.0, 0.0)]
    assert metric.scores(np.array(rows)) == {"accuracy": 3 / 5}
    assert np.isnan(metric.scores(np.array(rows[-1:]))["accuracy"])
    with pytest.raises(ValueError, match="2 labels answered for 3 and a mask of 1; there must be one for each token"):
        metric.row(SimpleNamespace(label="HH"), SimpleNamespace(label="HHH", mask="1"))


def test_errors_equal_scikit_learn_and_skip_missing_truth(rng):
    sklearn = pytest.importorskip("sklearn.metrics")
    true, predicted = rng.normal(size=(30, 4, 2)), rng.normal(size=(30, 4, 2))
    missing = rng.random(true.shape) < 0.2
    missing[3] = True
    metric = SquaredError()
    scores = metric.scores(rows_of(metric, predicted, np.where(missing, np.nan, true), "values"))
    kept = true[~missing], predicted[~missing]
    assert scores["mse"] == pytest.approx(sklearn.mean_squared_error(*kept), rel=1e-12)
    assert scores["mae"] == pytest.approx(sklearn.mean_absolute_error(*kept), rel=1e-12)
    assert scores["rmse"] == pytest.approx(sklearn.root_mean_squared_error(*kept), rel=1e-12)
    assert np.isnan(metric.scores(rows_of(metric, [[np.nan]], [[1.0]], "values"))["mse"])
    assert np.isnan(metric.scores(rows_of(metric, [[1.0]], [[None]], "values"))["mse"])
    with pytest.raises(ValueError, match=re.escape("values [2] answered for [3]; the shapes must agree")):
        rows_of(metric, [[1, 2]], [[1, 2, 3]], "values")


@pytest.mark.parametrize("ties", [False, True])
def test_pairs_equal_scipy(pairs, ties):
    stats, sklearn = pytest.importorskip("scipy.stats"), pytest.importorskip("sklearn.metrics")
    predicted, true = (np.round(side) if ties else side for side in pairs)
    for metric, expected in [
        (R2(), sklearn.r2_score(true, predicted)),
        (Pearson(), stats.pearsonr(true, predicted).statistic),
        (Spearman(), stats.spearmanr(true, predicted).statistic),
    ]:
        rows = rows_of(metric, [*predicted, 7.0, 8.0], [*true, None, np.nan], "value")
        assert metric.scores(rows)[metric.names[0]] == pytest.approx(expected, rel=1e-9)


def test_one_number_is_all_of_them_in_16_bytes(pairs):
    predicted, true = ([*side, extra] for side, extra in zip(pairs, (7.0, None), strict=True))
    rows = rows_of(OneNumber(), predicted, true, "value")
    assert rows.itemsize * rows.shape[1] == 16
    expected = {}
    for metric in (Spearman(), Pearson(), R2(), SquaredError("value")):
        expected |= metric.scores(rows_of(metric, predicted, true, "value"))
    del expected["mse"]
    assert OneNumber().scores(rows) == pytest.approx(expected, rel=1e-12)
    assert OneNumber().scores(rows[:1])["mae"] == pytest.approx(abs(predicted[0] - true[0]))


@pytest.mark.parametrize("metric", [R2(), Pearson(), Spearman()])
def test_what_is_not_defined_is_nan(metric):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for true, predicted in [
            ([], []),
            ([1.0], [1.0]),
            ([0.1] * 7, [1, 2, 3, 4, 5, 6, 7]),
            ([1.0, 2.0], [1.0, None]),
        ]:
            rows = rows_of(metric, predicted, true, "value") if true else np.empty((0, 2))
            assert np.isnan(metric.scores(rows)[metric.names[0]])


@pytest.fixture
def cases(rng, labels, pairs):
    """Every metric with rows of it."""
    places = np.stack([np.searchsorted(LABELS, side) for side in labels], axis=1).astype(np.float32)
    true, predicted = np.round(pairs, 1)
    numbers = np.stack([np.where(rng.random(120) < 0.1, np.nan, true), predicted], axis=1)
    sums = rng.integers(1, 9, (90, 3)).astype(np.float64)
    return [
        (Accuracy(), sums[:, :2]),
        (SquaredError(), sums),
        (MacroF1(LABELS), places),
        (Matthews(LABELS), places),
        (OneNumber(), numbers),
        (R2(), numbers),
        (Pearson(), numbers),
        (Spearman(), numbers),
    ]


def test_counting_rows_equals_repeating_them(cases, rng):
    for metric, rows in cases:
        counts = rng.integers(0, 4, (5, len(rows))).astype(np.float64)
        found = metric.weighted(rows, counts)
        for way, count in enumerate(counts):
            expected = metric.scores(np.repeat(rows, count.astype(int), axis=0))
            assert {name: values[way] for name, values in found.items()} == pytest.approx(expected, rel=1e-9)


def test_a_thousand_draws_of_ten_thousand_rows_are_quick(cases, rng):
    for metric, rows in cases:
        assert isinstance(metric, Weighted)
        many = rows[rng.integers(0, len(rows), 10_000)]
        started = time.process_time()
        bootstrap.interval(metric, many, seed=0)
        assert time.process_time() - started < 5  # about 0.1 s, Spearman 0.7 s, on an idle core


def test_of_many_rows_few_are_in_memory():
    store = RowStore(Accuracy())
    assert store.rows.shape == (0, 0)
    for number in range(100_000):
        store.append((number, 1.0))
    assert len(store._newest) <= 2**14
    assert np.array_equal(store.rows, np.stack([np.arange(100_000), np.ones(100_000)], axis=1))
    assert (store.rows.dtype, store.rows.shape, len(store)) == (np.float32, (100_000, 2), 100_000)
    store.append((0.0, 1.0))
    assert store.rows[-1].tolist() == [0.0, 1.0]
    with pytest.raises(ValueError, match=r"Accuracy\.row gave 3 numbers, not 2; a row always has as many"):
        store.append((1.0, 2.0, 3.0))
    with pytest.raises(ValueError, match="gave 0 numbers, not some"):
        RowStore(Accuracy()).append(())
