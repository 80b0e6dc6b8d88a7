from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anyformer_finance.value_bins import ValueBins

NAN = float("nan")


def by_formula(
    values: list[float], low: float, high: float, num_tokens: int, num_special: int
) -> tuple[list[int], float]:
    """Ids and scale as the paper's code has them, in another library: infinite outer edges, buckets closed on the left."""
    given = torch.tensor(values, dtype=torch.float64)
    known = ~torch.isnan(given)
    scale = given[known].abs().mean() if known.any() and (given[known] != 0).any() else torch.tensor(1.0)
    centres = torch.linspace(low, high, num_tokens - num_special - 1, dtype=torch.float64)
    outer = torch.tensor([1e20], dtype=torch.float64)
    edges = torch.cat([-outer, (centres[1:] + centres[:-1]) / 2, outer])
    ids = (torch.bucketize(given / scale, edges, right=True) + num_special).clamp(0, num_tokens - 1)
    ids[~known] = 0
    return ids.tolist(), float(scale)


@pytest.mark.parametrize(
    "settings", [{}, {"low": -2.0, "high": 1.0, "num_tokens": 20, "num_special": 5, "ends": False}]
)
@pytest.mark.parametrize("size", [1.0, 1e-7, 4e9])
def test_ids_are_those_of_the_formula(settings: dict[str, Any], size: float) -> None:
    values = (np.random.default_rng(0).standard_t(2, 3000) * size).tolist()
    values[5:9] = [NAN, 0.0, 400 * size, -400 * size]
    config = ValueBins.Config(**settings)
    bins = ValueBins(config)
    ids, scale = by_formula(values, config.low, config.high, config.num_tokens, config.num_special)
    assert bins.scale(np.array(values)) == pytest.approx(scale, rel=1e-12)
    assert bins.encode(values)["ids"].tolist() == ids + [1] * config.ends
    assert bins.encode(values)["ids"].dtype == np.int64
    assert set(ids) <= {0, *range(config.num_special + 1, config.num_tokens)}


def test_a_value_on_an_edge_belongs_to_the_upper_bin() -> None:
    bins = ValueBins(ValueBins.Config(low=0.0, high=2.0, num_tokens=6))
    assert bins.ids(np.array([0.49, 0.5, 1.5, 1e30, -1e30]), 1.0).tolist() == [3, 4, 5, 5, 3]


@pytest.mark.parametrize(("values", "scale"), [([0.0, 0.0], 1.0), ([NAN, NAN], 1.0), ([NAN, -3.0, 1.0], 2.0)])
def test_the_scale_of_nothing_is_one(values: list[float], scale: float) -> None:
    assert ValueBins(ValueBins.Config()).scale(np.array(values)) == scale


def test_ids_go_back_to_the_centres() -> None:
    bins = ValueBins(ValueBins.Config())
    values = np.random.default_rng(0).normal(size=200) * 40
    scale = bins.scale(values)
    ids = bins.ids(values, scale)
    assert np.abs(bins.values(ids, scale) - values).max() <= scale * 30 / 4092 / 2 * (1 + 1e-9)
    assert bins.ids(bins.values(ids, scale), scale).tolist() == ids.tolist()
    assert bins.values(np.array([[0, 2], [3, 4095]]), 2.0).tolist() == [[-30.0, -30.0], [-30.0, 30.0]]
    assert bins.decode(np.array([3, 4095, 1])).tolist() == [-15.0, 15.0]


def test_saving_needs_the_configuration_alone(tmp_path: Path) -> None:
    bins = ValueBins(ValueBins.Config(low=-3, num_tokens=50, num_special=4, end=3))
    bins.save(tmp_path)
    again = ValueBins(ValueBins.Config.model_validate_json(bins.config.model_dump_json()))
    again.load(tmp_path)
    values = np.arange(-9.0, 9.0)
    assert again.encode(values)["ids"].tolist() == bins.encode(values)["ids"].tolist()
    assert (again.vocabulary_size, again.start_id, again.end_id) == (50, 0, 3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"low": 2, "high": 2}, "high 2 must be greater than low 2"),
        ({"num_tokens": 4}, "num_tokens 4 leaves less than two bins beside num_special 2; set it to 5 or more"),
        ({"end": 2}, "end is 2; special ids are below num_special 2"),
        ({"pad": 7}, "pad is 7; special ids are below num_special 2"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ValueBins.Config(**settings)


def test_what_is_no_series() -> None:
    with pytest.raises(ValueError, match=r"one list of finite numbers; got shape \[1, 2\] or infinite values"):
        ValueBins(ValueBins.Config()).encode([[1.0, 2.0]])
    with pytest.raises(ValueError, match="or infinite values"):
        ValueBins(ValueBins.Config()).encode([1.0, float("inf")])
