from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from anyformer_finance.table import read_table

Make = Callable[..., list[dict[str, Any]]]


def read(rows: list[dict[str, Any]], **given: Any) -> Any:
    return read_table(rows, **{"columns": (), "time": "auto", "gaps": "refuse", "limit": 5, **given})


def test_columns_of_numbers_become_series(hours: Make) -> None:
    rows = [{**row, "note": "fine"} for row in hours(5)]
    table = read(rows)
    assert table.names == ("a", "b")
    assert table.found_CN.tolist() == [[0.5, 1.5, 2.5, 3.5, 4.5], [100, 99, 98, 97, 96]]
    assert table.filled_CN is table.found_CN
    assert str(table.moments[1]) == "2024-03-01T01:00:00"
    assert read(rows, columns=("b",)).names == ("b",)


@pytest.mark.parametrize(
    ("name", "time", "expected"),
    [
        ("date", "auto", True),
        ("Timestamp", "auto", True),
        ("Tag", "auto", True),
        ("x", "x", True),
        ("date", "none", False),
    ],
)
def test_the_column_of_the_time_is_found_or_named(hours: Make, name: str, time: str, expected: bool) -> None:
    rows = [{name: row["date"], "a": row["a"]} for row in hours(5)]
    assert (read(rows, time=time).moments is not None) == expected


def test_a_missing_value_is_filled_for_the_model_and_kept_for_the_score(hours: Make) -> None:
    rows = hours(6)
    rows[2]["a"] = "NA"
    rows[3]["a"] = None
    table = read(rows, gaps="fill")
    assert np.isnan(table.found_CN[0]).tolist() == [False, False, True, True, False, False]
    assert table.filled_CN[0].tolist() == [0.5, 1.5, 1.5, 1.5, 4.5, 5.5]
    assert table.filled_CN[1].tolist() == table.found_CN[1].tolist()


def test_a_missing_row_is_put_in(hours: Make) -> None:
    rows = hours(6)
    del rows[3]
    table = read(rows, gaps="fill")
    assert len(table) == len(table.moments) == 6
    assert np.isnan(table.found_CN[:, 3]).all()
    assert table.filled_CN[0].tolist() == [0.5, 1.5, 2.5, 2.5, 4.5, 5.5]


def test_an_error_after_a_filled_row_names_the_row_of_the_file(hours: Make) -> None:
    rows = hours(20)
    for row in rows[10:]:
        row["a"] = ""
    del rows[3]
    with pytest.raises(ValueError, match=r"^row 15: 'a' is missing for longer than config\.fill_limit=5 rows"):
        read(rows, gaps="fill")


def change(row: int, column: str, value: Any) -> Callable[[list[dict[str, Any]]], None]:
    return lambda rows: rows[row - 1].__setitem__(column, value)


@pytest.mark.parametrize(
    ("spoil", "given", "message"),
    [
        (list.clear, {}, "the data has no rows; give a table with one row for each time"),
        (change(4, "a", ""), {}, "row 4: 'a' is missing; complete it, or set config.gaps=fill to carry the last value"),
        (
            change(4, "b", "NaN"),
            {},
            "row 4: 'b' is missing; complete it, or set config.gaps=fill to carry the last value",
        ),
        (
            change(1, "b", "-"),
            {"gaps": "fill"},
            "row 1: 'b' is missing and has no value before; begin where it has one, or leave it out of config.columns",
        ),
        (
            change(4, "a", "abc"),
            {},
            "row 4: 'a' is 'abc', which is no number; correct it, or name other columns in config.columns",
        ),
        (change(4, "a", "inf"), {}, "row 4: 'a' is 'inf'; give a finite number, or nothing where it is missing"),
        (
            change(4, "date", "soon"),
            {},
            "column 'date': row 4 is 'soon', which is no date; write dates as YYYY-MM-DD, or set ",
        ),
        (list.reverse, {}, "row 2: date 2024-03-01T04:00:00 comes after 2024-03-01T05:00:00; sort the rows by date"),
        (lambda rows: rows.pop(3), {}, "row 4: date 2024-03-01T04:00:00 follows 2024-03-01T02:00:00 although the step"),
        (
            list.copy,
            {"columns": ("aa",)},
            "config.columns: no column 'aa'",
        ),
        (list.copy, {"columns": ("date",)}, "row 1: 'date' is '2024-03-01T00:00:00', which is no number"),
        (list.copy, {"time": "day"}, "config.time: no column 'day'"),
        (
            lambda rows: [row.pop("a") and row.pop("b") for row in rows],
            {},
            "no column of numbers to forecast; the data has 'date'",
        ),
    ],
)
def test_an_error_names_the_first_row_and_the_way_out(
    hours: Make, spoil: Callable[[Any], Any], given: dict[str, Any], message: str
) -> None:
    rows = hours(6)
    spoil(rows)
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        read(rows, **given)
