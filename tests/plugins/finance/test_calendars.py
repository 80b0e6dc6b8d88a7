from __future__ import annotations

import re

import numpy as np
import pytest

from anyformer_finance.calendars import complete


def days(*spans: tuple[str, str]) -> np.ndarray:
    """Every day of some spans, as seconds."""
    return np.concatenate([np.arange(*span, dtype="M8[D]") for span in spans]).astype("M8[s]")


def business(first: str, last: str) -> np.ndarray:
    every = np.arange(first, last, dtype="M8[D]")
    return every[np.is_busday(every)].astype("M8[s]")


HOURS = np.arange("2024-03-01T00", "2024-03-03T00", dtype="M8[h]").astype("M8[s]")


@pytest.mark.parametrize(
    "moments",
    [
        HOURS,
        days(("2024-01-01", "2024-03-01")),
        business("2024-01-01", "2024-03-01"),
        np.delete(business("2001-08-01", "2001-12-01"), slice(29, 33)),  # the closure of September 2001
        np.arange("2023-01", "2025-01", dtype="M8[M]").astype("M8[s]"),
        np.arange("1990", "2020", dtype="M8[Y]").astype("M8[s]"),
        np.arange(10.0),
        HOURS[:1],
        HOURS[:2],
    ],
)
def test_a_whole_calendar_stays_as_it_is(moments: np.ndarray) -> None:
    assert complete(moments, "date", "refuse", 1) is moments


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        (
            np.delete(HOURS, [5, 6]),
            "row 6: date 2024-03-01T07:00:00 follows 2024-03-01T04:00:00 although the step is 1 hour: 2 rows are missing; "
            "add them, set config.gaps=fill to carry the last value forward, or config.time=none to count rows",
        ),
        (
            np.delete(days(("2024-01-01", "2024-03-01")), 9),
            "row 10: date 2024-01-11 follows 2024-01-09 although the step is 1 day: 1 row is missing; add them",
        ),
        (
            np.delete(business("2024-01-01", "2024-03-01"), slice(10, 15)),
            "row 11: date 2024-01-22 follows 2024-01-12 although the step is 1 day: 5 rows are missing",
        ),
        (np.delete(np.arange(10.0), 4), "row 5: date 5 follows 3 although the step is 1: 1 row is missing"),
        (
            HOURS[[0, 1, 3, 2]],
            "row 4: date 2024-03-01T02:00:00 comes after 2024-03-01T03:00:00; sort the rows by date, oldest first",
        ),
        (
            HOURS[[0, 1, 1, 2]],
            "row 3: date 2024-03-01T01:00:00 stands twice (also in row 2); keep one row for each time and one series for "
            "each column",
        ),
        (
            np.sort(np.append(HOURS, HOURS[3] + 600)),
            "row 5: date 2024-03-01T03:10:00 follows 2024-03-01T03:00:00 although the step is 1 hour; keep rows at regular "
            "times, or set config.time=none to count rows instead",
        ),
    ],
)
def test_a_broken_calendar_is_refused_at_its_first_row(moments: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        complete(moments, "date", "refuse", 5)


@pytest.mark.parametrize("moments", [HOURS[[0, 1, 3, 2]], HOURS[[0, 1, 1, 2]]])
def test_filling_mends_neither_order_nor_duplicates(moments: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"sort the rows|stands twice"):
        complete(moments, "date", "fill", 5)


@pytest.mark.parametrize(
    ("whole", "gone"),
    [
        (HOURS, [5, 6, 20]),
        (business("2024-01-01", "2024-03-01"), [10, 11, 12, 13, 14]),
        (np.arange(10.0), [4, 5]),
        (np.arange(0.0, 5.0, 0.5), [4, 5]),
        (np.arange("2023-01-01", "2023-12-01", 7, dtype="M8[D]").astype("M8[s]"), [3]),
    ],
)
def test_filling_puts_the_missing_moments_in(whole: np.ndarray, gone: list[int]) -> None:
    found = complete(np.delete(whole, gone), "date", "fill", 5)
    np.testing.assert_array_equal(found, whole)
    assert found.dtype == whole.dtype


def test_a_gap_longer_than_the_limit_is_refused() -> None:
    message = "row 6: .*: 6 rows are missing, more than config.fill_limit=5; raise it, or cut the rows before row 6"
    with pytest.raises(ValueError, match=message):
        complete(np.delete(HOURS, slice(5, 11)), "date", "fill", 5)
