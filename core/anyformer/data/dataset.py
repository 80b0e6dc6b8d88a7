"""The data of a run: a training part and a held-out part, and a record of where they came from that a resume can read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyformer.data.hashing import fingerprint, overlap
from anyformer.data.sources import PAIRS, open_data, split
from anyformer.data.streams import StreamRows

Rows = Sequence[Mapping[str, Any]]
HELD_OUT = 0.1
"""Share of the data that is held out where no held-out data is given."""
IN_MEMORY = "in memory"


@dataclass(frozen=True)
class Dataset:
    """Raw rows to learn from and raw rows to be scored on."""

    train: Sequence[Mapping[str, Any]]
    valid: Sequence[Mapping[str, Any]]
    """May be empty."""
    asked: dict[str, Any]
    """Where the rows came from, as YAML values, with their fingerprints; of a stream, those of its first block."""

    @property
    def valid_name(self) -> str:
        """What the held-out rows are called in a report."""
        valid = self.asked["valid"]
        if isinstance(valid, float):
            return f"{valid:.0%} of {_said(self.asked['data'])}, held out"
        if isinstance(valid, int):
            return f"the first {valid:,} rows of {self.asked['stream']}, held out"
        return _said(valid)

    @classmethod
    def open(cls, data: Any, valid: Any, columns: Any, seed: int, temporal: bool) -> Dataset:
        """Open both parts; without `valid`, hold out a share (the last rows where order is time).

        Of a stream, `valid` rows are held out, its first; without `valid`, a tenth of its first block.
        Raises `ValueError` for data that cannot be read.
        """
        rows = open_data(data, columns)
        share = _share(valid)
        if isinstance(rows, StreamRows) and (share is not None or isinstance(valid, int)):
            train, held_out, share = _first_rows(rows, valid)
        elif share is not None:
            train, held_out = split(rows, share, None if temporal else seed)
        else:
            none = isinstance(valid, str) and valid == "none"  # a data frame compares each of its values
            train, held_out = rows, [] if none else open_data(valid, columns)
        if isinstance(held_out, StreamRows):
            raise ValueError(
                "held-out rows are read as often as the run is scored, so they cannot be a stream; give a list, "
                "valid=list(itertools.islice(rows(), 1000))"
            )
        asked = {
            "data": _named(data),
            "valid": share if share is not None else _named(valid),
            "columns": columns,
            "rows": None if isinstance(train, StreamRows) else len(train),
            "valid_rows": len(held_out),
            "fingerprint": fingerprint(train),
            "valid_fingerprint": fingerprint(held_out) if len(held_out) else None,
            "in_both": overlap(train, held_out) if len(held_out) else 0,
        }
        if isinstance(train, StreamRows):
            asked["stream"] = train.stream.name
        return cls(train, held_out, asked)

    @classmethod
    def reopen(cls, asked: Mapping[str, Any], data: Any, valid: Any, seed: int, temporal: bool) -> Dataset:
        """Open the data of an earlier run again; `data` and `valid` stand in for what was in memory.

        Raises `ValueError` if it is not the same data any more.
        """
        for name, given in (("data", data), ("valid", valid)):
            if asked[name] == IN_MEMORY and given is None:
                raise ValueError(
                    f"the run's {name} was in memory; give the same rows again: resume(folder, {name}=rows)"
                )
        data = asked["data"] if data is None else data
        valid = asked["valid"] if valid is None else valid
        found = cls.open(data, valid, asked["columns"], seed, temporal)
        for name in ("fingerprint", "valid_fingerprint"):
            if found.asked[name] != asked[name]:
                changed = "data" if name == "fingerprint" else "valid"
                raise ValueError(
                    f"the run's {changed} ({asked[changed]}) has changed since it began; put it back, or start a new run"
                )
        return found


def _share(valid: Any) -> float | None:
    """The share to hold out, or None where `valid` names data of its own (or "none")."""
    if valid is None:
        return HELD_OUT
    if isinstance(valid, float):
        return valid
    if isinstance(valid, str):
        try:
            return float(valid)
        except ValueError:
            return None
    return None


def _first_rows(rows: StreamRows, valid: Any) -> tuple[Rows, Rows, int]:
    """A stream without its first rows, these rows, and how many they are."""
    if isinstance(valid, float | str | bool):
        raise ValueError(
            f"a stream has no share to hold out, as its length is not known; got valid={valid}; give a number of first "
            "rows, valid=1000, or rows of their own"
        )
    train, held_out = rows.hold_out(valid)
    return train, held_out, len(held_out)


def _named(data: Any) -> Any:
    """Data as run.yaml keeps it: paths made absolute, so that a resume finds them from anywhere."""
    if isinstance(data, Path):
        return _absolute(data)
    if isinstance(data, str):
        if data == "none":
            return data
        if PAIRS.fullmatch(data) and not Path(data).exists():
            pairs = (pair.partition("=") for pair in data.split(","))
            return {field: _absolute(path) for field, _, path in pairs}
        return _absolute(data)
    if isinstance(data, Mapping) and all(isinstance(value, str | Path) for value in data.values()):
        return {field: _absolute(path) for field, path in data.items()}
    return IN_MEMORY


def _absolute(path: str | Path) -> str:
    """A path from the root, without `..`, links left as they are."""
    return os.path.abspath(path)


def _said(data: Any) -> str:
    """Where data came from, in a line."""
    return ",".join(f"{field}={path}" for field, path in data.items()) if isinstance(data, Mapping) else str(data)
