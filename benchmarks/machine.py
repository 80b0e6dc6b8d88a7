"""The machine and the versions that a result was measured with; no name of a host or a person."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
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
