"""What commands print: JSON for programs, tables for people, notes on standard error.

* With `--json` a command writes one JSON object (or one a line) to standard output and nothing else there.
* A table is drawn by rich on a terminal; elsewhere it is aligned columns that `grep` and `awk` read.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import PurePath
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
"""The flag every command takes: `def command(json: Json = False)`."""


def write_json(value: Any) -> None:
    """One JSON object on one line. Models, dataclasses, arrays and paths are turned into plain values.

    Text that the encoding of standard output cannot carry is escaped. A number that is not finite is an error of ours.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, allow_nan=False, default=_plain)
    sys.stdout.write(text + "\n")


def write(text: str = "") -> None:
    """A line for a person on standard output; characters its encoding lacks are escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def note(text: str) -> None:
    """A line for a person on standard error, where it is in no program's way."""
    sys.stderr.write(text + "\n")


def note_failing() -> None:
    """Say on standard error which plugins do not work, since what they would add is missing from a listing."""
    from anyformer import plugins

    if failing := plugins.failing():
        note(f"plugins that do not work: {', '.join(failing)} (see: anyformer plugins)")


def write_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Rows under their columns. A column of numbers is set to the right; a float shows four digits."""
    right = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(columns))]
    cells = [[_cell(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        _draw(columns, cells, right)
        return
    widths = [max(len(line[i]) for line in [columns, *cells]) for i in range(len(columns))]
    for line in [columns, *cells]:
        padded = [
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        ]
        write("  ".join(padded).rstrip())


def _draw(columns: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, to_right in zip(columns, right, strict=True):
        table.add_column(name, justify="right" if to_right else "left", overflow="fold")
    for line in cells:
        table.add_row(*map(Text, line))  # Text, because a bracket in a name is no markup
    Console().print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split())


def _plain(value: Any) -> Any:
    """What JSON does not know, as what it knows."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
