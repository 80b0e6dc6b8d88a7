"""Every family and head beside its home library, in every shape; and errors made by hand, which must be noticed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matrix
import pytest

from anyformer.testing.parity import Cell, check

pytest.importorskip("transformers")
CELLS = matrix.cells()


def test_three_shapes_for_each_cell() -> None:
    assert CELLS
    assert all(len(cell.shapes) >= 3 for cell in CELLS)


@pytest.mark.parametrize(
    ("cell", "shape"),
    [
        pytest.param(cell, shape, id=f"{cell.family}-{cell.head}-{number}".replace(" ", "-"))
        for cell in CELLS
        for number, shape in enumerate(cell.shapes)
    ],
)
def test_parity(cell: Cell, shape: Mapping[str, Any], tmp_path: Path) -> None:
    found = check(cell, shape, tmp_path)
    assert any(error > 0 for error in found.error.values()), "the same module on both sides would compare nothing"
