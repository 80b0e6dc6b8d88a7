"""A table of series on one calendar, checked once: what was found, and what the model may see.

Axis legend: C series, N rows.

* Two arrays of the same shape: `found` keeps missing values as NaN (targets and scores use it, so nothing invented is ever
  scored), `filled` has none (the look-back reads it). They are one array where nothing is missing.
* Rows are read a thousand at a time, so that the file as Python objects is never in memory.
* Filling only carries the last value forward, so no value ever comes from the future.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyformer.hints import did_you_mean, listed
from anyformer.task import Array
from anyformer_finance.arrays import Moments, times
from anyformer_finance.calendars import complete

TIME_NAMES = ("date", "datetime", "timestamp", "time", "t")
"""Columns taken for the time, in this order, upper or lower case; without any of them the first column, if it has dates."""
MISSING = frozenset({"", ".", "-", "na", "n/a", "nan", "null", "none"})
"""Texts that stand for a missing value, in lower case."""

ROWS = 1024
"""Rows that are read at once."""


@dataclass(frozen=True, eq=False)
class Table:
    """Series of equal length on one calendar."""

    names: tuple[str, ...]
    """Names of the C series."""
    found_CN: Array
    """float64, NaN where a value is missing."""
    filled_CN: Array
    """float64 without a missing value: the last one carried forward."""
    moments: Array | None
    """datetime64[s] or float64 [N]; None where rows are counted."""

    @classmethod
    def of(
        cls, series: Mapping[str, Array], moments: Array | None, gaps: str, limit: int, time_name: str = "timestamps"
    ) -> Table:
        """A checked table of float64 [N] columns.

        `gaps` is "refuse" or "fill", `limit` how many rows one value may stand for. Raises `ValueError` naming the first
        row at fault, what was found there and what to do.
        """
        found_CN = np.stack(list(series.values()))
        return cls.checked(tuple(series), found_CN, moments, gaps, limit, time_name)

    @classmethod
    def checked(
        cls, names: tuple[str, ...], found_CN: Array, moments: Array | None, gaps: str, limit: int, time_name: str
    ) -> Table:
        """As `of`, from columns that are one array."""
        rows: Array | None = None
        if moments is not None:
            whole = complete(moments, time_name, gaps, limit)
            if len(whole) > len(moments):
                places = np.searchsorted(whole, moments)
                found_CN, sparse_CN = np.full((len(names), len(whole)), np.nan), found_CN
                found_CN[:, places] = sparse_CN
                rows, moments = np.searchsorted(moments, whole) + 1, whole
        filled_CN = found_CN
        if np.isnan(found_CN).any():
            rows = np.arange(1, found_CN.shape[1] + 1) if rows is None else rows
            filled_CN = _fill(found_CN, names, rows, gaps, limit)
        return cls(names, found_CN, filled_CN, moments)

    def __len__(self) -> int:
        return int(self.found_CN.shape[1])


def read_table(raw: Sequence[Mapping[str, Any]], columns: Sequence[str], time: str, gaps: str, limit: int) -> Table:
    """Raw rows with text values to a table.

    `columns` are the series, none for all columns of numbers; `time` is the column of the time, "auto" to look for it (see
    `TIME_NAMES`), "none" to count rows. A column whose first value is text is no series. Raises `ValueError` for a column
    that does not exist, text where a number should be, and whatever `Table.of` refuses.
    """
    if not len(raw):
        raise ValueError("the data has no rows; give a table with one row for each time and one column for each series")
    first = raw[0]
    names = list(first)
    time_name = _time_name(first, time)
    unknown = [name for name in columns if name not in names]
    if unknown:
        raise ValueError(
            f"config.columns: no column {unknown[0]!r}{did_you_mean(unknown[0], names)}; the data has {listed(names)}"
        )
    chosen = columns or _numeric(raw, [name for name in names if name != time_name])
    if not chosen:
        raise ValueError(f"no column of numbers to forecast; the data has {listed(names)}")
    found_CN = np.empty((len(chosen), len(raw)))
    moments = Moments(len(raw), "row")
    for begin in range(0, len(raw), ROWS):
        rows = [raw[place] for place in range(begin, min(begin + ROWS, len(raw)))]
        if time_name is not None:
            with _at(time_name):
                moments.add([row.get(time_name) for row in rows])
        for values_N, name in zip(found_CN, chosen, strict=True):
            values_N[begin : begin + len(rows)] = _column([row.get(name) for row in rows], name, begin)
    whole = None
    if time_name is not None:
        with _at(time_name):
            whole = moments.values()
    return Table.checked(tuple(chosen), found_CN, whole, gaps, limit, time_name or "")


@contextmanager
def _at(time_name: str) -> Iterator[None]:
    """Says of an error which column it is about, and the way around."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"column {time_name!r}: {error}, or set config.time=none to count rows") from None


def _time_name(row: Mapping[str, Any], time: str) -> str | None:
    """The column of the time, from the first row; None where rows are counted."""
    if time == "none":
        return None
    names = list(row)
    if time != "auto":
        if time not in names:
            raise ValueError(
                f"config.time: no column {time!r}{did_you_mean(time, names)}; the data has {listed(names)}"
            )
        return time
    lower = {str(name).lower().strip(): name for name in reversed(names)}
    found = next((lower[known] for known in TIME_NAMES if known in lower), None)
    return found if found is not None or not _is_date(row[names[0]]) else names[0]


def _is_date(value: Any) -> bool:
    try:
        return times([value]).dtype != np.float64
    except ValueError:
        return False


def _numeric(raw: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """The columns whose first value is a number; one without any value is kept, so that its emptiness is reported."""
    found = dict.fromkeys(names, True)
    unseen = list(names)
    for row in raw:
        for name in [name for name in unseen if not _is_missing(row.get(name))]:
            found[name] = _is_number(row[name])
            unseen.remove(name)
        if not unseen:
            break
    return [name for name in names if found[name]]


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in MISSING)


def _column(texts: Sequence[Any], name: str, before: int) -> Array:
    """Values of one column as float64 [N], NaN where one is missing; `before` rows of the file stand before them."""
    try:
        values = np.array(texts, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array(
            [np.nan if _is_missing(text) else _number(text, name, row) for row, text in enumerate(texts, before + 1)]
        )
    if np.isinf(values).any():
        row = int(np.isinf(values).argmax())
        raise ValueError(
            f"row {before + row + 1}: {name!r} is {texts[row]!r}; give a finite number, or nothing where it is missing"
        )
    return values


def _number(text: Any, name: str, row: int) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        found = f"row {row}: {name!r} is {str(text)[:40]!r}"
        raise ValueError(f"{found}, which is no number; correct it, or name other columns in config.columns") from None


def _fill(found_CN: Array, names: Sequence[str], rows: Array, gaps: str, limit: int) -> Array:
    """The last value carried forward, at most `limit` rows; `rows` [N] are the file's, for errors."""
    missing_CN = np.isnan(found_CN)
    count = np.arange(found_CN.shape[1])
    last_CN = np.maximum.accumulate(np.where(missing_CN, -1, count), axis=1)
    wrong_CN = missing_CN if gaps != "fill" else (last_CN < 0) | (count - last_CN > limit)
    if wrong_CN.any():
        place = int(wrong_CN.any(axis=0).argmax())
        series = int(wrong_CN[:, place].argmax())
        what = f"row {rows[place]}: {names[series]!r} is missing"
        if gaps != "fill":
            raise ValueError(f"{what}; complete it, or set config.gaps=fill to carry the last value forward")
        if last_CN[series, place] < 0:
            raise ValueError(
                f"{what} and has no value before; begin where it has one, or leave it out of config.columns"
            )
        raise ValueError(f"{what} for longer than config.fill_limit={limit} rows; complete it, or raise the limit")
    return np.take_along_axis(found_CN, last_CN, axis=1)
