"""Columns of numbers and of times as values of an Input, Target or Output: numpy arrays inside, plain lists in JSON.

* A missing number is NaN inside and null in JSON, which has no NaN. Infinity is refused.
* Times are ISO 8601 text or numbers (the index of a day) in JSON; inside they are datetime64[s] in UTC, or float64.
* An array of the right kind passes as it is: windows cut from a checked table are views, and cost no parsing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

import numpy as np
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from anyformer.task import Array, Data

FORMATS = ("%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y-%m", "%Y/%m/%d %H:%M:%S")
"""What is understood beside ISO 8601; a column keeps one format throughout."""


def numbers(given: Any) -> Array:
    """A list of numbers and nulls as float64 [N]; raises `ValueError` naming the first value that is neither."""
    if isinstance(given, np.ndarray) and given.dtype == np.float64 and given.ndim == 1:
        values = given
    elif isinstance(given, list | tuple | np.ndarray):
        values = np.array([_number(value, place) for place, value in enumerate(given, 1)], dtype=np.float64)
    else:
        raise ValueError(f"must be a list of numbers, null where one is missing; got {type(given).__name__}")
    if np.isinf(values).any():
        raise ValueError(f"value {int(np.isinf(values).argmax()) + 1} is infinite; write null where one is missing")
    return values


def _number(value: Any, place: int) -> float:
    try:
        return np.nan if value is None else float(value)
    except (TypeError, ValueError):
        raise ValueError(f"value {place} is {value!r}, which is no number; write null where one is missing") from None


def times(given: Any, each: str = "value") -> Array:
    """A list of dates, times or numbers as datetime64[s] (UTC) or float64 [N]; `each` is what an error calls an item.

    Raises `ValueError` naming the first value that is neither ISO 8601 nor in the format (one of `FORMATS`) of the values
    before it, and for a column that can be read as day/month and as month/day.
    """
    if not isinstance(given, list | tuple | np.ndarray):
        raise ValueError(f"must be a list of dates, times or numbers; got {type(given).__name__}")
    if isinstance(given, np.ndarray):
        if given.ndim == 1 and given.dtype in (np.dtype("M8[s]"), np.dtype(np.float64)):
            return given
        given = given.astype(str).tolist()
    found = Moments(len(given), each)
    found.add(given)
    return found.values()


class Moments:
    """A column of dates, times or numbers, read piece by piece: the same as if it were read at once."""

    def __init__(self, size: int, each: str) -> None:
        """`size` is how many items come in all, `each` what an error calls one."""
        self.size, self.each = size, each
        self.count = 0
        """Items read so far."""
        self._read: dict[str, Array | None] = dict.fromkeys(_READERS)
        """What was read [size], by the ways of reading that fit all items so far."""
        self._first: Any = ""
        self._furthest: tuple[int, Any] = (0, "")
        """How many items the last way to fail had read, and the one it could not."""

    def add(self, items: Sequence[Any]) -> None:
        """Read the next items. Raises `ValueError` if no way of reading fits all items so far."""
        if not self.count and len(items):
            self._first = items[0]
            if isinstance(items[0], np.datetime64) or _DAY.fullmatch(str(items[0]).strip()):
                del self._read[_INDEX]  # eight digits such as 20160701 are left to be a date
        for name, values in list(self._read.items()):
            found, wrong = _READERS[name](items)
            if wrong is None:
                values = np.empty(self.size, found.dtype) if values is None else values
                values[self.count : self.count + len(items)] = found
                self._read[name] = values
                continue
            del self._read[name]
            if name != _INDEX and self.count + wrong >= self._furthest[0]:
                self._furthest = self.count + wrong, items[wrong]
        self.count += len(items)
        if not self._read:
            place, item = self._furthest
            raise ValueError(
                f"{self.each} {place + 1} is {str(item).strip()!r}, which is no date; write dates as YYYY-MM-DD"
            )

    def values(self) -> Array:
        """All items as datetime64[s] (UTC) or float64 [N]. Raises `ValueError` if two ways of reading them differ."""
        assert self.count == self.size, "all items were read"
        fits = [values for values in self._read.values() if values is not None]
        chosen = next(iter(self._read))
        if chosen not in (_INDEX, _ISO) and any((other != fits[0]).any() for other in fits):
            first = str(self._first).strip()
            raise ValueError(f"{first!r} may be month/day or day/month; write dates as YYYY-MM-DD")
        return fits[0]


def _indices(items: Sequence[Any]) -> tuple[Array, int | None]:
    """The items as numbers, and the place of an item if they are none."""
    try:
        values = np.array(items, dtype=np.float64)
    except (TypeError, ValueError):
        return np.empty(0), 0
    return values, None if values.ndim == 1 and np.isfinite(values).all() else 0


def _dates(items: Sequence[Any], read: Callable[[str], datetime]) -> tuple[Array, int | None]:
    """The items as datetime64[s] in UTC, and the place of the first that is none."""
    found: list[datetime] = []
    try:
        for item in items:
            found.append(read(str(item).strip()))
    except ValueError:
        return np.empty(0), len(found)
    return _seconds(found), None


def _strptime(pattern: str, item: str) -> datetime:
    return datetime.strptime(item, pattern)


def _seconds(moments: list[datetime]) -> Array:
    plain = [moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment for moment in moments]
    return np.array(plain, dtype="M8[s]")


_INDEX, _ISO = "index", "ISO 8601"
_DAY = re.compile(r"\d{8}")
_READERS: dict[str, Callable[[Sequence[Any]], tuple[Array, int | None]]] = {
    _INDEX: _indices,
    _ISO: partial(_dates, read=datetime.fromisoformat),
    **{pattern: partial(_dates, read=partial(_strptime, pattern)) for pattern in FORMATS},
}
"""Ways of reading a column of times, in the order of preference."""


def texts(values: Array) -> list[Any]:
    """Times as JSON has them: dates where all are midnight, seconds otherwise; numbers stay numbers."""
    if values.dtype == np.float64:
        return [int(value) if value.is_integer() else value for value in values.tolist()]
    days = values.astype("M8[D]")
    return list(np.datetime_as_string(days if (days == values).all() else values).tolist())


def listed(values: Array) -> list[float | None]:
    """Numbers as JSON has them: null for NaN."""
    plain: list[float | None] = values.tolist()
    return [None if value != value else value for value in plain] if np.isnan(values).any() else plain


class _Column:
    """How pydantic reads and writes one kind of column."""

    def __init__(self, read: Any, write: Any, *items: str) -> None:
        self.read, self.write, self.items = read, write, items

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        write = core_schema.plain_serializer_function_ser_schema(self.write)
        return core_schema.no_info_plain_validator_function(self.read, serialization=write)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "array", "items": {"anyOf": [{"type": item} for item in self.items]}}


Numbers = Annotated[np.ndarray, _Column(numbers, listed, "number", "null")]
"""float64 [N]; NaN is a missing value."""
Times = Annotated[np.ndarray, _Column(times, texts, "string", "number")]
"""datetime64[s] or float64 [N]."""


class Columns(Data):
    """Base of values that hold arrays: two are equal when their JSON is, so a missing value equals a missing value."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment]
