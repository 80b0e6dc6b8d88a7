"""Which plugins the user switched off: a small JSON file, and an environment variable for one call.

* `plugins.json` lies in `$ANYFORMER_HOME`, else `$XDG_CONFIG_HOME/anyformer`, else `~/.config/anyformer`.
* It is written aside and renamed, so that a reader sees the old list or the new one.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

RESTRICT = "ANYFORMER_PLUGINS"


def folder() -> Path:
    """The user's configuration folder. Raises `ValueError` for a user who has no home."""
    if home := os.environ.get("ANYFORMER_HOME"):
        return Path(home)
    if base := os.environ.get("XDG_CONFIG_HOME"):
        return Path(base) / "anyformer"
    try:
        return Path.home() / ".config" / "anyformer"
    except RuntimeError:
        raise ValueError("this user has no home folder; set ANYFORMER_HOME to a folder for the settings") from None


def disabled() -> frozenset[str]:
    """Domains the user switched off. Raises `ValueError` for a file that does not hold such a list."""
    try:
        path = folder() / "plugins.json"
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except ValueError:
        return frozenset()  # no home: nothing can have been switched off there
    try:
        names = json.loads(text)["disabled"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TypeError
    except (ValueError, TypeError, KeyError):
        raise ValueError(f'{path} does not hold {{"disabled": [names]}}; mend it or delete it') from None
    return frozenset(names)


def store(names: Iterable[str]) -> None:
    """Replace the list of domains that are switched off."""
    path = folder() / "plugins.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=".plugins-", suffix=".json")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"disabled": sorted(names)}, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        os.unlink(aside)
        raise


def only(domains: Iterable[str]) -> frozenset[str] | None:
    """The domains `ANYFORMER_PLUGINS` names, separated by commas; None where it is not set; empty means none at all.

    Raises `ValueError` for a name that is not among the installed `domains`.
    """
    text = os.environ.get(RESTRICT)
    if text is None:
        return None
    names = frozenset(name.strip() for name in text.split(",")) - {""}
    unknown = sorted(names - set(domains))
    if unknown:
        there = ", ".join(sorted(set(domains))) or "none"
        raise ValueError(f"{RESTRICT} names {unknown[0]!r}, which is not installed; installed: {there}")
    return names
