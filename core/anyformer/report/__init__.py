"""What a person sees of a run: one HTML page that needs nothing but itself. Names are loaded when they are used.

* Reading order: `run` (a run's page), `demo` (the page of `anyformer demo`), `chart` and `pictures` (what is on them),
  `markup` (how HTML is written here), `words` (numbers and times in words).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyformer.lazy import load

if TYPE_CHECKING:
    from anyformer.report.demo import write_demo
    from anyformer.report.run import Shown, write_run

_NAMES = {"demo": ("write_demo",), "run": ("Shown", "write_run")}
__all__ = ["Shown", "write_demo", "write_run"]


def __getattr__(name: str) -> Any:
    return load(__name__, _NAMES, name)
