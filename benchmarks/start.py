"""How long the shell takes to answer without a model: `uv run python -m benchmarks.start`.

Each command runs once to warm up, then five times; the median is printed, beside what it must not import.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.machine import keep

COMMANDS = (["--help"], ["plugins"], ["tasks", "--json"])
HEAVY = ("torch", "transformers", "timm", "Bio", "sklearn", "matplotlib", "pandas")
REPEATS = 5


def seconds(arguments: list[str]) -> float:
    """Wall time of one run of the shell, process start included."""
    script = Path(sys.executable).with_name("anyformer")
    began = time.perf_counter()
    subprocess.run([script, *arguments], check=True, capture_output=True, env=_environment())
    return time.perf_counter() - began


def imported(arguments: list[str]) -> list[str]:
    """Which heavy packages a run of the shell imports."""
    code = (
        "import sys, contextlib, io\nfrom anyformer.cli import main\n"
        f"with contextlib.redirect_stdout(io.StringIO()): main({arguments!r})\n"
        f"sys.stderr.write(','.join(name for name in {HEAVY!r} if name in sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_environment())
    return [name for name in run.stderr.strip().split(",") if name in HEAVY]


def _environment() -> dict[str, str]:
    """This process's, with bytecode written, as on a user's machine."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def main() -> None:
    """Measure, print and keep."""
    rows = []
    for arguments in COMMANDS:
        seconds(arguments)
        times = [seconds(arguments) for _ in range(REPEATS)]
        rows.append({"command": " ".join(["anyformer", *arguments]), "median": statistics.median(times), "all": times})
        rows[-1]["imports"] = imported(arguments)
        print(f"{rows[-1]['command']:<24} {rows[-1]['median']:.3f} s   heavy imports: {rows[-1]['imports'] or 'none'}")
    keep("start", rows)


if __name__ == "__main__":
    main()
