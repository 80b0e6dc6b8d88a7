"""What differs between two values, as a line that leads to the place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel

from anyformer.task import Array


def difference(found: Any, expected: Any, tolerance: float = 0.0) -> str:
    """The first difference, or nothing: dataclasses, models, mappings, sequences, arrays, numbers.

    Floats may differ by `tolerance` times the greatest magnitude in `expected`; everything else must be equal.
    """
    greatest = max((float(np.nanmax(np.abs(each))) for each in _floats(expected)), default=0.0)
    return next(_differences(found, expected, tolerance * greatest, ""), "")


def _differences(found: Any, expected: Any, allowed: float, where: str) -> Iterator[str]:
    found, expected = _plain(found), _plain(expected)
    if isinstance(expected, np.ndarray):
        yield from _of_arrays(found, expected, allowed, where)
    elif isinstance(found, float) and isinstance(expected, float):
        if not (found == expected or abs(found - expected) <= allowed or (found != found and expected != expected)):
            yield f"{where or 'the value'} is {found!r}, not {expected!r}"
    elif isinstance(found, Mapping) and isinstance(expected, Mapping):
        if list(found) != list(expected):
            yield f"{where or 'the mapping'} has {list(found)}, not {list(expected)}"
        for name in [name for name in expected if name in found]:
            yield from _differences(found[name], expected[name], allowed, f"{where}.{name}".lstrip("."))
    elif _is_sequence(found) and _is_sequence(expected):
        if len(found) != len(expected):
            yield f"{where or 'the sequence'} has {len(found)} items, not {len(expected)}"
        for index, pair in enumerate(zip(found, expected, strict=False)):
            yield from _differences(*pair, allowed, f"{where}[{index}]")
    elif type(found) is not type(expected) or found != expected:
        yield f"{where or 'the value'} is {found!r}, not {expected!r}"


def _of_arrays(found: Any, expected: Array, allowed: float, where: str) -> Iterator[str]:
    kind = f"{expected.dtype} {list(expected.shape)}"
    if not isinstance(found, np.ndarray) or f"{found.dtype} {list(found.shape)}" != kind:
        given = f"{found.dtype} {list(found.shape)}" if isinstance(found, np.ndarray) else type(found).__name__
        yield f"{where} is {given}, not {kind}"
    elif expected.dtype.kind != "f" or not allowed:
        if not np.array_equal(found, expected, equal_nan=expected.dtype.kind == "f"):
            yield f"{where} has other values ({int((found != expected).sum())} of {expected.size})"
    elif not np.allclose(found, expected, rtol=0, atol=allowed, equal_nan=True):
        yield f"{where} differs by up to {np.nanmax(np.abs(found - expected)):.2g}; allowed is {allowed:.2g}"


def _plain(value: Any) -> Any:
    """Dataclasses and models as mappings, numpy's numbers as Python's."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return value.item() if isinstance(value, np.generic) else value


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _floats(value: Any) -> Iterator[Any]:
    """All floats and arrays of floats, those that are NaN throughout left out."""
    value = _plain(value)
    if isinstance(value, Mapping):
        yield from (each for item in value.values() for each in _floats(item))
    elif _is_sequence(value):
        yield from (each for item in value for each in _floats(item))
    elif np.asarray(value).dtype.kind == "f" and not np.isnan(value).all():
        yield value
