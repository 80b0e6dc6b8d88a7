"""The table of the documentation: `uv run python -m benchmarks table` writes it from `results/inference.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.inference import CASES, OURS

RESULTS = Path(__file__).parent / "results" / "inference.json"
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- the table of inference begins -->", "<!-- the table of inference ends -->"
HEADER = (
    "Case", "Precision", "Ours", "Home library", "Ratio", "Quartiles", "Asked for", "Its best here", "Ratio to that",
    "Share of the limit",
)  # fmt: skip


def table(rows: dict[str, Any]) -> str:
    """Results as Markdown, in the order of the cases."""
    order = list(CASES)
    kept = sorted(
        rows.values(), key=lambda row: (order.index(row["case"]), row["precision"] != "fp32", row["precision"])
    )
    lines = [_line(HEADER), _line(["---"] * len(HEADER)), *(_line(_cells(row)) for row in kept)]
    return "\n".join(lines)


def _cells(row: dict[str, Any]) -> list[str]:
    sides, default = row["rows"], row["default"]
    own, ratio = sides[OURS]["rate"]["median"], sides[OURS]["ratio"]
    others = {name: side["rate"]["median"] for name, side in sides.items() if name not in (OURS, default)}
    best = max(others, key=lambda name: others[name], default=None)
    return [
        row["case"], row["precision"], f"{own:.3g} {row['unit']}", f"{sides[default]['rate']['median']:.3g}",
        f"**{ratio['median']:.2f}**", f"{ratio['low']:.2f} to {ratio['high']:.2f}",
        "" if row["goal"] is None else f"{row['goal']:.2f}", "" if best is None else f"{best}: {others[best]:.3g}",
        "" if best is None else f"{own / others[best]:.2f}", f"{row['share']:.0%}",
    ]  # fmt: skip


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def results() -> dict[str, Any]:
    """What was kept; nothing where nothing was measured yet."""
    rows: dict[str, Any] = json.loads(RESULTS.read_text())["rows"] if RESULTS.is_file() else {}
    return rows


def page(text: str) -> str:
    """A page with its table made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert rest, "the page has a place for the table"
    assert after, "the place for the table ends"
    return f"{before}{BEGIN}\n{table(results())}\n{END}{after}"


def write() -> None:
    """Write the table into the page."""
    PAGE.write_text(page(PAGE.read_text()))
