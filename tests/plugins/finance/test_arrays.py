from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

import numpy as np
import pytest

from anyformer_finance.arrays import Columns, Moments, Numbers, Times, numbers, times


class Both(Columns):
    numbers: Numbers
    times: Times


def test_values_survive_json_with_null_for_a_missing_one() -> None:
    given = Both(numbers=[1, None, 2.5], times=["2024-01-01", "2024-01-02", "2024-01-03"])
    assert np.isnan(given.numbers[1])
    assert given.numbers.dtype == np.float64
    text = given.model_dump_json()
    assert text == '{"numbers":[1.0,null,2.5],"times":["2024-01-01","2024-01-02","2024-01-03"]}'
    assert Both.model_validate_json(text) == given
    assert given != Both(numbers=[1, None, 3], times=given.times)


def test_an_array_of_the_right_kind_is_not_copied() -> None:
    values = np.arange(3.0)
    assert numbers(values) is values
    assert times(values) is values


def test_the_schema_says_what_is_possible() -> None:
    fields = Both.model_json_schema()["properties"]
    assert fields["numbers"]["items"] == {"anyOf": [{"type": "number"}, {"type": "null"}]}
    assert fields["times"]["type"] == "array"


@pytest.mark.parametrize(
    "given",
    [
        ["2024-03-01 12:00", "2024-03-02 12:00"],
        ["2024-03-01T13:00:00+01:00", "2024-03-02T12:00:00Z"],
        [datetime(2024, 3, 1, 12), datetime(2024, 3, 2, 12)],
        np.array(["2024-03-01T12", "2024-03-02T12"], dtype="M8[ns]"),
        list(np.array(["2024-03-01T12", "2024-03-02T12"], dtype="M8[ns]")),
    ],
)
def test_times_are_seconds_in_utc(given: object) -> None:
    assert times(given).tolist() == [datetime(2024, 3, 1, 12), datetime(2024, 3, 2, 12)]


@pytest.mark.parametrize(
    ("given", "second"),
    [
        (["20240301", "20240302"], date(2024, 3, 2)),
        (["3/1/2024", "3/13/2024"], date(2024, 3, 13)),
        (["1/3/2024", "13/3/2024"], date(2024, 3, 13)),
        (["1.3.2024", "2.3.2024"], date(2024, 3, 2)),
        (["2024-03", "2024-04"], date(2024, 4, 1)),
    ],
)
def test_other_formats_are_read_where_one_fits_all(given: list[str], second: date) -> None:
    assert times(given).astype("M8[D]").tolist()[1] == second


def test_numbers_may_be_times() -> None:
    assert times(["0", "1", "2"]).tolist() == [0.0, 1.0, 2.0]
    assert Both(numbers=[], times=[0, 1.5]).model_dump()["times"] == [0, 1.5]


@pytest.mark.parametrize(
    ("read", "given", "message"),
    [
        (numbers, [1, "x"], "value 2 is 'x', which is no number; write null where one is missing"),
        (numbers, [1, [2]], "value 2 is [2], which is no number"),
        (numbers, [1, float("inf")], "value 2 is infinite; write null where one is missing"),
        (numbers, "12", "must be a list of numbers, null where one is missing; got str"),
        (times, "2024", "must be a list of dates, times or numbers; got str"),
        (times, ["2024-01-01", "soon"], "value 2 is 'soon', which is no date; write dates as YYYY-MM-DD"),
        (times, ["3/13/2024", "3/14/2024", "3.15.2024"], "value 3 is '3.15.2024', which is no date"),
        (times, ["1/2/2024", "2/2/2024"], "'1/2/2024' may be month/day or day/month; write dates as YYYY-MM-DD"),
    ],
)
def test_an_error_names_the_value_and_the_way_out(read: object, given: object, message: str) -> None:
    assert callable(read)
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        read(given)


@pytest.mark.parametrize(
    "given",
    [
        ["1/2/2024", "2/2/2024", "13/2/2024"],  # what the day is, shows in the last piece
        ["2024-03-01T13:00:00+01:00", "2024-03-02T12:00:00Z", "2024-03-03"],
        ["20240301", "20240302", "20240303"],
        ["1", "2", "3.5"],
        ["1/2/2024", "2/2/2024", "3/2/2024"],
        ["1", "2", "soon"],
        ["2024-01-01", "2024-01-02", "soon"],
        ["2024-01", "2024-02", "2024-01-03"],
    ],
)
@pytest.mark.parametrize("piece", [1, 2])
def test_piece_by_piece_it_is_the_same(given: list[str], piece: int) -> None:
    def read() -> Any:
        found = Moments(len(given), "value")
        for begin in range(0, len(given), piece):
            found.add(given[begin : begin + piece])
        return found.values()

    try:
        whole = times(given)
    except ValueError as error:
        with pytest.raises(ValueError, match="^" + re.escape(str(error))):
            read()
    else:
        assert read().dtype == whole.dtype
        assert read().tolist() == whole.tolist()
