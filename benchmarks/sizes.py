"""How large each plugin is to install and how long it takes to import: `uv run python -m benchmarks.sizes`.

Each distribution goes into a new environment of its own, with the versions known to work. Sizes are of all packages; torch
and its CUDA libraries stand apart, because they are the same for all. Import is of the plugin's page and its tasks' modules.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import tomllib
from pathlib import Path

from benchmarks.machine import keep

ROOT = Path(__file__).parent.parent
PARTS = {"core": "anyformer.task", "nlp": "anyformer_nlp", "vision": "anyformer_vision", "bio": "anyformer_bio",
         "finance": "anyformer_finance"}  # fmt: skip
TORCH = ("torch", "torchgen", "functorch", "triton", "nvidia", "cuda")
REPEATS = 5
TIME = """
import sys, time
began = time.perf_counter()
import {page}
from anyformer import plugins
for spec in plugins.tasks().values():
    __import__(spec.target.partition(":")[0])
print(time.perf_counter() - began)
"""


def measure(part: str, page: str, folder: Path, constraints: Path) -> dict[str, object]:
    """Install one distribution into a new environment and measure it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(["uv", "venv", "--quiet", folder], check=True)
    python = folder / "bin" / "python"
    sources = [ROOT / "core"] + ([ROOT / "plugins" / part] if part != "core" else [])
    subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, "-c", constraints, *sources], check=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    sizes = {entry.name: _size(entry) for entry in site.iterdir()}
    torch = sum(size for name, size in sizes.items() if name.startswith(TORCH))
    times = []
    for _ in range(REPEATS + 1):
        run = [python, "-c", TIME.format(page=page)]
        times.append(float(subprocess.run(run, check=True, capture_output=True, text=True, env=environment).stdout))
    return {
        "distribution": "anyformer" if part == "core" else f"anyformer-{part}",
        "megabytes": round((sum(sizes.values()) - torch) / 1e6),
        "torch_megabytes": round(torch / 1e6),
        "import_seconds": round(statistics.median(times[1:]), 3),
    }


def _size(entry: Path) -> int:
    files = [entry] if entry.is_file() else [path for path in entry.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files if path.suffix != ".pyc")


def main() -> None:
    """Measure, print and keep."""
    pins = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["constraint-dependencies"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("\n".join(pins))
        for part, page in PARTS.items():
            row = measure(part, page, Path(folder) / part, constraints)
            rows.append(row)
            sizes = f"{row['megabytes']:>5} MB + torch {row['torch_megabytes']} MB"
            print(f"{row['distribution']:<20} {sizes}, import {row['import_seconds']} s")
    keep("sizes", rows)


if __name__ == "__main__":
    main()
