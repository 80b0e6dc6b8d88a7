"""Records of a table: every cut-off is one, with the look-back as input and the horizon as target.

* Random access without copies: a record is made of views of the table when it is asked for.
* A record is a whole row of series at one cut-off, so that a step sees all series of the same moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from anyformer.task import Array, Record
from anyformer_finance.schema import Input, Target
from anyformer_finance.table import Table


@dataclass(frozen=True)
class Window(Record[Input, Target]):
    """One record, and where it was cut: rows `first` to `last` of its table (`last` is not included)."""

    table: Table
    first: int
    last: int


class Windows(Sequence[Record[Input, Target]]):
    """The records of a table, one for each cut-off of `cuts`: the row at which the future begins."""

    def __init__(self, table: Table, look_back: int, horizon: int, cuts: range) -> None:
        self.table, self.look_back, self.horizon, self.cuts = table, look_back, horizon, cuts

    @classmethod
    def of(cls, table: Table, look_back: int, horizon: int, stride: int) -> Windows:
        """All windows of a table, `stride` rows apart; raises `ValueError` if it is too short for one."""
        if len(table) < look_back + horizon:
            raise ValueError(
                f"the data has {len(table)} rows, and one record needs {look_back + horizon} (config.look_back="
                f"{look_back} and config.horizon={horizon}); give more rows, or set them smaller"
            )
        return cls(table, look_back, horizon, range(look_back, len(table) - horizon + 1, stride))

    def __len__(self) -> int:
        return len(self.cuts)

    @overload
    def __getitem__(self, index: int) -> Window: ...
    @overload
    def __getitem__(self, index: slice) -> Windows: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Windows(self.table, self.look_back, self.horizon, self.cuts[index])
        table, cut = self.table, self.cuts[index]
        first, last = cut - self.look_back, cut + self.horizon
        history = dict(zip(table.names, table.filled_CN[:, first:cut], strict=True))
        future = dict(zip(table.names, table.found_CN[:, cut:last], strict=True))
        moments = None if table.moments is None else table.moments[first:cut]
        return Window(Input.of_table(history, moments), Target.model_construct(future=future), table, first, last)

    def __iter__(self) -> Iterator[Window]:
        return (self[place] for place in range(len(self)))


def scales(records: Sequence[Record[Input, Target]]) -> dict[str, Any]:
    """Names, means and standard deviations of the series, each row counted once: `{"names", "mean" [C], "std" [C]}`.

    Rows are those the windows touch; records that come from no table are laid end to end instead. A constant series has
    the deviation 1, as in scikit-learn's StandardScaler.
    """
    found: dict[str, list[Array]] = {}
    ranges: dict[int, tuple[Table, int, int]] = {}
    for record in records:
        if isinstance(record, Window):
            table, first, last = ranges.get(id(record.table), (record.table, record.first, record.last))
            ranges[id(record.table)] = table, min(first, record.first), max(last, record.last)
            continue
        for name, values in record.input.series.items():
            found.setdefault(name, []).append(values)
            found[name].append(record.target.future.get(name, values[:0]))
    for table, first, last in ranges.values():
        for name, values in zip(table.names, table.found_CN[:, first:last], strict=True):
            found.setdefault(name, []).append(values)
    rows = [np.concatenate(pieces) for pieces in found.values()]
    deviation = np.array([np.nanstd(values) for values in rows])
    deviation[~(deviation > 0)] = 1.0
    return {"names": list(found), "mean": np.array([np.nanmean(values) for values in rows]), "std": deviation}
