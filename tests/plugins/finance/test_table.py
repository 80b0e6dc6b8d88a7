from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyformer.data import open_data
from anyformer_finance import table
from anyformer_finance.table import read_table

Make = Callable[..., list[dict[str, Any]]]


def read(rows: list[dict[str, Any]], **given: Any) -> Any:
    return read_table(rows, **{"columns": (), "time": "auto", "gaps": "refuse", "limit": 5, **given})


def test_columns_of_numbers_become_series(hours: Make) -> None:
    rows = [{**row, "note": "fine"} for row in hours(5)]
    found = read(rows)
    assert found.names == ("a", "b")
    assert found.found_CN.tolist() == [[0.5, 1.5, 2.5, 3.5, 4.5], [100, 99, 98, 97, 96]]
    assert found.filled_CN is found.found_CN
    assert str(found.moments[1]) == "2024-03-01T01:00:00"
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
    found = read(rows, gaps="fill")
    assert np.isnan(found.found_CN[0]).tolist() == [False, False, True, True, False, False]
    assert found.filled_CN[0].tolist() == [0.5, 1.5, 1.5, 1.5, 4.5, 5.5]
    assert found.filled_CN[1].tolist() == found.found_CN[1].tolist()


def test_a_missing_row_is_put_in(hours: Make) -> None:
    rows = hours(6)
    del rows[3]
    found = read(rows, gaps="fill")
    assert len(found) == len(found.moments) == 6
    assert np.isnan(found.found_CN[:, 3]).all()
    assert found.filled_CN[0].tolist() == [0.5, 1.5, 2.5, 2.5, 4.5, 5.5]


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
    hours: Make, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Any], Any], given: dict[str, Any], message: str
) -> None:
    rows = hours(6)
    spoil(rows)
    for count in (table.ROWS, 1):  # at once, and each row alone
        monkeypatch.setattr(table, "ROWS", count)
        with pytest.raises(ValueError, match="^" + re.escape(message)):
            read(rows, **given)


def test_rows_read_in_pieces_are_the_same_table(hours: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = hours(10)
    rows[4]["a"] = "NA"
    del rows[7]
    whole = read(rows, gaps="fill")
    monkeypatch.setattr(table, "ROWS", 4)
    found = read(rows, gaps="fill")
    assert found.names == whole.names
    assert found.moments.tolist() == whole.moments.tolist()
    assert np.array_equal(found.found_CN, whole.found_CN, equal_nan=True)
    assert np.array_equal(found.filled_CN, whole.filled_CN)


def test_a_file_is_never_in_memory_as_python_objects(tmp_path: Path) -> None:
    path, count = tmp_path / "prices.csv", 30_000
    start = np.datetime64("2000-01-01T00")
    path.write_text("time,price\n" + "".join(f"{start + hour},{hour / 8}\n" for hour in range(count)))
    rows = open_data(str(path))
    read(rows[:200])
    tracemalloc.start()
    try:
        found = read(rows)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.found_CN[0, -1] == (count - 1) / 8
    assert kept < 20 * count, "a value and a time are 16 bytes"
    assert peak < 64 * count, "a row as a dict of text is 390 bytes"
