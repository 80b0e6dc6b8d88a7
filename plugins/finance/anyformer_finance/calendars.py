"""The calendar of a series: which step it keeps, where it breaks, and which moments are missing.

* The step is the median, so a few holes do not hide it.
* A daily series that lacks some weekday (but for one row in a hundred) is a market's: it may rest for up to a week
  (weekends, holidays, closures). On any other calendar an interval longer than one and a half steps is a gap, and one
  shorter than half a step is a row out of place. Months of 28 to 31 days and leap years pass.
* Order and duplicates are never mended: which row is right would be a guess.
"""

from __future__ import annotations

import numpy as np

from anyformer.task import Array
from anyformer_finance.arrays import texts

DAY = 86400
LONGEST_REST = 7 * DAY
"""Seconds. United States markets were closed from 11 to 16 September 2001: seven days between two rows."""
UNITS = ((DAY, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def complete(moments: Array, name: str, gaps: str, limit: int) -> Array:
    """The moments [N] with the missing ones put in where `gaps` is "fill", at most `limit` in a row.

    `name` is what the user calls the column. Raises `ValueError` naming the first row that is out of order, that stands
    twice, that falls between two steps, or before which rows are missing (under "fill": more than `limit`).
    """
    intervals = np.diff(moments).astype(np.float64, copy=False)
    _check_order(moments, intervals, name)
    if len(intervals) < 2:
        return moments
    step = float(np.median(intervals))
    weekdays = _market(moments, step)
    longest = LONGEST_REST if weekdays is not None else 1.5 * step
    _check_between(moments, intervals, step, name)
    pieces, start = [], 0
    for row in (np.flatnonzero(intervals > longest) + 1).tolist():
        before, here = moments[row - 1 : row + 1].astype(np.float64).tolist()
        missing = _missing(before, here, step, weekdays)
        if gaps != "fill" or len(missing) > limit:
            raise ValueError(_gap(moments, row, len(missing), step, name, gaps, limit))
        whole = missing if moments.dtype == np.float64 else missing.round().astype(moments.dtype)
        pieces += [moments[start:row], whole]
        start = row
    return np.concatenate([*pieces, moments[start:]]) if pieces else moments


def _market(moments: Array, step: float) -> Array | None:
    """The weekdays [<= 6] a daily market opens, Thursday = 0; None for any other calendar."""
    if moments.dtype == np.float64 or step != DAY:
        return None
    counts = np.bincount(moments.astype("M8[D]").astype(np.int64) % 7, minlength=7)
    common = np.flatnonzero(counts * 100 > len(moments))
    return common if len(common) < 7 else None


def _missing(start: float, end: float, step: float, weekdays: Array | None) -> Array:
    """The ticks that should stand between two rows."""
    if weekdays is None:
        return np.linspace(start, end, round((end - start) / step) + 1)[1:-1]
    days = np.arange(start + DAY, end - DAY / 2, DAY)
    return days[np.isin(days // DAY % 7, weekdays)]


def _check_order(moments: Array, intervals: Array, name: str) -> None:
    wrong = np.flatnonzero(intervals <= 0)
    if not len(wrong):
        return
    row = int(wrong[0]) + 1
    before, here = texts(moments[[row - 1, row]])
    if intervals[row - 1] == 0:
        raise ValueError(
            f"row {row + 1}: {name} {here} stands twice (also in row {row}); keep one row for each time "
            "and one series for each column"
        )
    raise ValueError(f"row {row + 1}: {name} {here} comes after {before}; sort the rows by {name}, oldest first")


def _check_between(moments: Array, intervals: Array, step: float, name: str) -> None:
    wrong = np.flatnonzero(intervals < 0.5 * step)
    if len(wrong):
        row = int(wrong[0]) + 1
        before, here = texts(moments[[row - 1, row]])
        raise ValueError(
            f"row {row + 1}: {name} {here} follows {before} although the step is {_step(moments, step)}; "
            "keep rows at regular times, or set config.time=none to count rows instead"
        )


def _gap(moments: Array, row: int, missing: int, step: float, name: str, gaps: str, limit: int) -> str:
    before, here = texts(moments[[row - 1, row]])
    rows = "1 row is" if missing == 1 else f"{missing} rows are"
    found = f"row {row + 1}: {name} {here} follows {before} although the step is {_step(moments, step)}: {rows} missing"
    if gaps == "fill":
        return f"{found}, more than config.fill_limit={limit}; raise it, or cut the rows before row {row + 1}"
    return f"{found}; add them, set config.gaps=fill to carry the last value forward, or config.time=none to count rows"


def _step(moments: Array, step: float) -> str:
    if moments.dtype == np.float64:
        return f"{step:g}"
    size, unit = next((size, unit) for size, unit in UNITS if step >= size)
    return f"{step / size:.3g} {unit}{'' if step == size else 's'}"
