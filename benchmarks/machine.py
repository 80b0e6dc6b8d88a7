"""The machine and the versions that a result was measured with; no name of a host or a person."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Processor, cores, Python and versions, as JSON values."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        model = names[0] if names else model
    packages = {name: version(name) for name in ("anyformer", "torch", "numpy", "pydantic", "typer")}
    return {"processor": model, "cores": os.cpu_count(), "python": platform.python_version(), **packages}


def keep(name: str, rows: list[Any] | dict[str, Any]) -> None:
    """Write `results/NAME.json`. Rows by name join those that the same machine and versions left there before."""
    path = Path(__file__).parent / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    here = machine()
    if isinstance(rows, dict) and path.is_file():
        before = json.loads(path.read_text())
        rows = {**before["rows"], **rows} if before["machine"] == here else rows
    path.write_text(json.dumps({"machine": here, "rows": rows}, indent=1) + "\n")
