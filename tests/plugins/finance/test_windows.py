from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from anyformer.task import Record
from anyformer_finance.schema import Input, Target
from anyformer_finance.windows import scales

Make = Callable[..., Any]


def test_every_cut_off_is_a_record(hours: Make, forecast: Make) -> None:
    records = forecast().records(hours(60))
    assert len(records) == 60 - 24 - 4 + 1
    first, last = records[0], records[-1]
    assert first.input.series["a"].tolist() == [row + 0.5 for row in range(24)]
    assert first.target.future["a"].tolist() == [24.5, 25.5, 26.5, 27.5]
    assert last.target.future["a"].tolist() == [56.5, 57.5, 58.5, 59.5]
    assert str(first.input.timestamps[-1]) == "2024-03-01T23:00:00"
    assert [record.first for record in records[5:8]] == [5, 6, 7]
    with pytest.raises(IndexError):
        records[len(records)]


def test_cut_offs_may_be_apart(hours: Make, forecast: Make) -> None:
    records = forecast(stride=10).records(hours(60))
    assert [record.first for record in records] == [0, 10, 20, 30]


def test_a_short_table_is_refused_with_both_numbers(hours: Make, forecast: Make) -> None:
    message = (
        r"the data has 27 rows, and one record needs 28 \(config.look_back=24 and config.horizon=4\); give more rows"
    )
    with pytest.raises(ValueError, match=message):
        forecast().records(hours(27))


def test_a_record_survives_json(hours: Make, forecast: Make) -> None:
    record = forecast().records(hours(60))[3]
    assert Input.model_validate_json(record.input.model_dump_json()) == record.input
    assert Target.model_validate_json(record.target.model_dump_json()) == record.target


def test_scales_count_each_training_row_once(hours: Make, forecast: Make) -> None:
    rows = hours(60)
    found = scales(forecast().records(rows))
    values = np.array([[float(row["a"]), float(row["b"])] for row in rows])
    assert found["names"] == ["a", "b"]
    np.testing.assert_allclose(found["mean"], values.mean(axis=0))
    np.testing.assert_allclose(found["std"], values.std(axis=0))


def test_scales_see_no_row_after_the_records(hours: Make, forecast: Make) -> None:
    records = forecast().records(hours(60))
    some = [records[place] for place in (4, 1, 2)]
    np.testing.assert_allclose(scales(some)["mean"][0], np.arange(1.5, 32.5).mean())
    np.testing.assert_allclose(scales(records[1:5])["mean"], scales(some)["mean"])


def test_scales_of_records_that_come_from_no_table() -> None:
    one = Record(Input(series={"x": [1, 3]}), Target(future={"x": [5]}))
    two = Record(Input(series={"y": [2, 2]}), Target(future={"y": [None]}))
    found = scales([one, two])
    assert found["names"] == ["x", "y"]
    assert found["mean"].tolist() == [3, 2]
    assert found["std"].tolist() == [np.std([1, 3, 5]), 1]
