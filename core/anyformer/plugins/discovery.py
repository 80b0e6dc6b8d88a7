"""Which plugins are installed, and what already speaks against importing one: read from metadata, importing nothing.

* Distributions are read one by one, so that one unreadable file spoils one plugin and no other.
* A plugin's API range is its own `Requires-Dist: anyformer`; there is no second version number to keep.
* A required distribution must be there; whether its version fits is left to `check`, because pip only warns of it too.
"""

from __future__ import annotations

import importlib.metadata
import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError
from typing import TYPE_CHECKING, Literal

from anyformer.hookspecs import GROUP

if TYPE_CHECKING:
    from packaging.requirements import Requirement

State = Literal["ok", "disabled", "restricted", "clash", "incompatible", "broken"]

CORE = "anyformer"
"""The distribution whose range in a plugin's requirements is the API range."""
DOMAIN = re.compile(r"[a-z][a-z0-9_-]*")
"""What the name of an entry point must look like, since it starts every id of its plugin."""


@dataclass(frozen=True)
class Verdict:
    """Why a plugin is not, or not wholly, in use."""

    state: State
    reason: str
    fix: str
    """The command that mends it."""
    trace: str = ""
    """The traceback, for the plugin's author."""


@dataclass(frozen=True)
class Found:
    """An entry point of the group, and what its distribution says of itself."""

    domain: str
    entry: EntryPoint | None
    distribution: str
    version: str
    summary: str
    requires: tuple[str, ...]
    flaw: Verdict | None = None
    """Set where the metadata themselves cannot be read."""


def find() -> list[Found]:
    """Every entry point of the group, by domain. Of a distribution that is on the path twice, the first counts."""
    found: list[Found] = []
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        try:
            text = distribution.read_text("entry_points.txt") or ""
        except (OSError, UnicodeError):
            continue  # whose it is cannot be told; one of ours would be reported by pip as well
        if f"[{GROUP}]" not in text.replace(" ", ""):
            continue
        ours = list(_read(distribution))
        if ours and _normal(ours[0].distribution) not in seen:
            seen.add(_normal(ours[0].distribution))
            found += ours
    return sorted(found, key=lambda one: (one.domain, one.distribution))


def _read(distribution: Distribution) -> Iterator[Found]:
    try:
        about = distribution.metadata
        name, version = about["Name"], about["Version"]
        if not name or not version:
            raise ValueError("it has no name or no version")
        summary = (about.get_all("Summary") or [""])[0]
        requires = tuple(about.get_all("Requires-Dist") or ())
        entries = distribution.entry_points.select(group=GROUP)
    except Exception as error:
        folder = getattr(distribution, "_path", None)  # no public name; without metadata there is nothing better
        name = folder.name.split("-")[0] if folder is not None else "unknown"
        fix = f"pip install --force-reinstall {shlex.quote(name)}"
        flaw = Verdict("broken", f"its metadata cannot be read ({type(error).__name__}: {error})", fix)
        yield Found(name, None, name, "unknown", "", (), flaw)
        return
    for entry in entries:
        yield Found(entry.name, entry, name, version, summary, requires)


def judge(
    one: Found, everyone: Sequence[Found], disabled: Collection[str], only: Collection[str] | None
) -> Verdict | None:
    """The first reason not to import a plugin, or None: `disabled` domains, `only` these, then its own metadata."""
    if one.domain in disabled:
        return Verdict("disabled", "switched off by the user", f"anyformer plugins enable {one.domain}")
    if only is not None and one.domain not in only:
        return Verdict("restricted", "ANYFORMER_PLUGINS does not name it", "unset ANYFORMER_PLUGINS")
    if one.flaw is not None:
        return one.flaw
    upgrade = f"pip install --upgrade {shlex.quote(one.distribution)}"
    if not DOMAIN.fullmatch(one.domain):
        reason = f"its entry point {one.domain!r} is no domain; one is lowercase letters, digits, '-' and '_'"
        return Verdict("broken", reason, upgrade)
    rivals = [other.distribution for other in everyone if other.domain == one.domain]
    if len(rivals) > 1:
        reason = f"{' and '.join(rivals)} claim the domain {one.domain!r}; keep one of them"
        return Verdict("clash", reason, f"pip uninstall {shlex.quote(rivals[-1])}")
    try:
        return _requirements(one)
    except ValueError as error:  # InvalidRequirement, UndefinedEnvironmentName and their like
        return Verdict("broken", f"its requirements cannot be read: {error}".splitlines()[0], upgrade)


def _requirements(one: Found) -> Verdict | None:
    """The API range first, then what is not installed."""
    missing: list[str] = []
    for requirement in requirements(one):
        there = installed(requirement.name)
        if there is None:
            missing.append(str(requirement))
        elif _normal(requirement.name) == CORE and not requirement.specifier.contains(there.version, prereleases=True):
            reason = f"built for {requirement}, this is {CORE} {there.version}"
            return Verdict("incompatible", reason, f"pip install --upgrade {CORE} {shlex.quote(one.distribution)}")
    if not missing:
        return None
    fix = f"pip install {' '.join(map(shlex.quote, missing))}"
    return Verdict("broken", f"not installed: {', '.join(missing)}", fix)


def requirements(one: Found) -> list[Requirement]:
    """What a plugin requires here: markers that hold, no extras; each without its marker, so that pip can read it.

    Raises `ValueError` for a requirement that is none.
    """
    from packaging.requirements import Requirement

    applying = []
    for line in one.requires:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            requirement.marker = None
            applying.append(requirement)
    return applying


def installed(distribution: str) -> Distribution | None:
    """A distribution by its name, or None where it is not installed."""
    try:
        return importlib.metadata.distribution(distribution)
    except PackageNotFoundError:
        return None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
