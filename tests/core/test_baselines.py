from __future__ import annotations

import numpy as np
import pytest

from anyformer.baselines import mean_and_deviation, ridge


def test_mean_and_deviation_in_one_pass() -> None:
    values = np.random.default_rng(0).normal(5e6, 3.0, 500)
    assert mean_and_deviation(iter(values.tolist())) == pytest.approx((values.mean(), values.std()), rel=1e-9)
    assert mean_and_deviation([]) == (0.0, 1.0)
    assert mean_and_deviation([0.1] * 7)[1] == 1.0


def test_ridge_equals_scikit_learn() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    has = rng.random((60, 25)) < 0.2
    has[3] = False
    values = has @ rng.normal(size=25) + rng.normal(50, 1, 60)
    intercept, weights = ridge([np.flatnonzero(row) for row in has], values, 25, penalty=0.7)
    true = linear.Ridge(alpha=0.7).fit(has.astype(float), values)
    assert intercept == pytest.approx(true.intercept_, rel=1e-7)
    np.testing.assert_allclose(weights, true.coef_, atol=1e-6)


def test_ridge_of_nothing_is_the_mean() -> None:
    intercept, weights = ridge([np.zeros(0, dtype=np.int64)] * 2, np.array([1.0, 3.0]), 4)
    assert intercept == 2.0
    assert not weights.any()
