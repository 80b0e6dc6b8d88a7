"""Names of a package that are imported when they are first used (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any


def load(package: str, names: Mapping[str, Iterable[str]], name: str) -> Any:
    """The object `name` of `package`, from the submodule that `names` lists it under; it is kept for the next use.

    Raises `AttributeError`, as a module's `__getattr__` must, for a name that is not listed.
    """
    for module, members in names.items():
        if name in members:
            found = getattr(importlib.import_module(f"{package}.{module}"), name)
            setattr(sys.modules[package], name, found)
            return found
    raise AttributeError(f"module {package!r} has no attribute {name!r}")
