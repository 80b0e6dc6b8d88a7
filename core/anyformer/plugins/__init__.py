"""Plugins: found by their entry points, loaded alone, listed whatever happens to them.

* Listing needs metadata and the plugins' own pages; a task's module is imported when the task is used.
* What is found is kept for the life of the process; `reload` forgets it.
* Reading order: `discovery` (what is installed), `guard` (one plugin, isolated), `lookup` (ids), `events`, `switches`
  (what the user turned off), `checking` (does every target resolve).
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anyformer.plugins import discovery, events, lookup, switches
from anyformer.plugins.discovery import State
from anyformer.plugins.events import register, unregister
from anyformer.plugins.guard import Plugin, one_line

if TYPE_CHECKING:
    from anyformer.families import Family
    from anyformer.plugins.checking import Problem
    from anyformer.task import Task, TaskSpec, Tokenizer, TokenizerSpec

__all__ = [
    "PluginStatus",
    "check",
    "disable",
    "distribution_of",
    "enable",
    "failing",
    "families",
    "notify",
    "plugins",
    "preset",
    "presets",
    "readers",
    "register",
    "reload",
    "task",
    "task_id",
    "tasks",
    "tokenizer",
    "tokenizer_id",
    "tokenizers",
    "unregister",
]


@dataclass(frozen=True)
class PluginStatus:
    """One line of `anyformer plugins`."""

    name: str
    """The domain."""
    distribution: str
    version: str
    state: State
    reason: str
    """Why it is not, or not wholly, in use; empty where it is."""
    fix: str
    """The command that mends it."""
    summary: str
    """What it is: the first line of its docstring, or its distribution's summary where it was not imported."""
    num_tasks: int


def plugins() -> list[PluginStatus]:
    """Every installed plugin by domain, with its state. Imports the plugins' pages, never a task's module.

    Presets are not asked for: they build configurations, which takes longer than all the rest. `check` asks for them.
    """
    for plugin in _loaded():
        for kind in ("tasks", "tokenizers", "readers"):
            plugin.give(kind)
    return [_status(plugin) for plugin in _loaded()]


def failing() -> list[str]:
    """Domains of the plugins that something is wrong with, as far as they were asked; not those the user left out."""
    verdicts = [(plugin.domain, plugin.verdict) for plugin in _loaded()]
    return sorted({domain for domain, it in verdicts if it is not None and it.state not in ("disabled", "restricted")})


def tasks() -> dict[str, TaskSpec]:
    """Every task by id, unresolved."""
    return lookup.everything(_loaded(), "tasks")


def task_id(name: str) -> str:
    """The full id of a task from its id or its bare name. Raises `ValueError` as `task` does."""
    return lookup.find(_loaded(), "tasks", name)[0]


def task(name: str) -> type[Task[Any, Any, Any]]:
    """The class of a task, by its id or by its bare name.

    Raises `ValueError`, with what exists and what to do, for a name that is unknown, ambiguous, of a plugin that is not
    in use, or whose target does not resolve to a `Task`.
    """
    from anyformer.task import Task

    full, spec = lookup.find(_loaded(), "tasks", name)
    return _class(full, "task", spec.target, Task)


def tokenizers() -> dict[str, TokenizerSpec]:
    """Every tokenizer by id, unresolved."""
    return lookup.everything(_loaded(), "tokenizers")


def tokenizer_id(name: str) -> str:
    """The full id of a tokenizer from its id or its bare name. Raises `ValueError` as `tokenizer` does."""
    return lookup.find(_loaded(), "tokenizers", name)[0]


def tokenizer(name: str) -> type[Tokenizer]:
    """The class of a tokenizer, by its id or by its bare name. Raises `ValueError` as `task` does."""
    from anyformer.task import Tokenizer

    full, spec = lookup.find(_loaded(), "tokenizers", name)
    return _class(full, "tokenizer", spec.target, Tokenizer)


def families() -> dict[str, Family]:
    """Every checkpoint layout by id."""
    return lookup.everything(_loaded(), "families")


def presets() -> dict[str, Callable[[], Any]]:
    """Every preset by id: functions that return a configuration."""
    return lookup.everything(_loaded(), "presets")


def preset(name: str) -> Callable[[], Any]:
    """A preset by its id or by its bare name. Raises `ValueError` as `task` does."""
    function: Callable[[], Any] = lookup.find(_loaded(), "presets", name)[1]
    return function


@functools.cache
def readers() -> dict[str, str]:
    """File suffix or format name to the lazy reference of its reader.

    A name that two plugins give is left out with one line on standard error: which of them reads a file must not depend
    on their order.
    """
    claims: dict[str, list[str]] = {}
    for name, domain in ((name, plugin.domain) for plugin in _loaded() for name in plugin.give("readers")):
        claims.setdefault(name, []).append(domain)
    for name, domains in claims.items():
        if len(domains) > 1:
            rivals = " and ".join(domains)
            sys.stderr.write(f"warning: no reader for {name!r}, {rivals} both give one; disable one of these plugins\n")
    gifts = [gift for plugin in _loaded() for gift in plugin.give("readers").items()]
    return {name: reference for name, reference in gifts if len(claims[name]) == 1}


def distribution_of(domain: str) -> tuple[str, str]:
    """Name and version of the distribution behind a domain. Raises `ValueError` where none is installed."""
    for plugin in _loaded():
        if plugin.domain == domain:
            return plugin.found.distribution, plugin.found.version
    raise ValueError(lookup.missing_plugin(_loaded(), domain))


def notify(event: str, **arguments: Any) -> None:
    """Tell an event of a run, e.g. `notify("run_ended", run=folder, reason="finished")`, to every listener."""
    events.tell(_loaded(), event, arguments)


def check(name: str) -> list[Problem]:
    """Resolve everything the plugin of a domain names; what is wrong, with its fix. Imports whatever that takes.

    Raises `ValueError` for a domain that is not installed.
    """
    from anyformer.plugins import checking

    distribution_of(name)
    return [problem for plugin in _loaded() if plugin.domain == name for problem in checking.problems(plugin)]


def disable(name: str) -> bool:
    """Switch a plugin off until it is enabled again; False if it was off. Raises `ValueError` where none is installed."""
    distribution_of(name)
    return _switch(switches.disabled() | {name})


def enable(name: str) -> bool:
    """Switch a plugin on again; False if it was on. A plugin that is no longer installed can be taken off the list too."""
    if name not in switches.disabled():
        distribution_of(name)
    return _switch(switches.disabled() - {name})


def reload() -> None:
    """Forget what was found, so that the next question looks again. Modules that were imported stay imported."""
    importlib.invalidate_caches()
    _loaded.cache_clear()
    readers.cache_clear()


@functools.cache
def _loaded() -> tuple[Plugin, ...]:
    found = discovery.find()
    disabled, only = switches.disabled(), switches.only(one.domain for one in found)
    return tuple(Plugin(one, discovery.judge(one, found, disabled, only)) for one in found)


def _status(plugin: Plugin) -> PluginStatus:
    verdict, found = plugin.verdict, plugin.found
    state, reason, fix = (verdict.state, verdict.reason, verdict.fix) if verdict else ("ok", "", "")
    num_tasks = len(plugin.give("tasks"))
    return PluginStatus(found.domain, found.distribution, found.version, state, reason, fix, plugin.about, num_tasks)


def _switch(names: frozenset[str]) -> bool:
    changed = names != switches.disabled()
    if changed:
        switches.store(names)
        reload()
    return changed


def _class(id: str, kind: str, target: str, base: type[Any]) -> Any:
    """The class a target names. Whatever its module raises becomes one line, as for a plugin's page."""
    from anyformer.task import resolve

    try:
        found = resolve(target)
        if not (isinstance(found, type) and issubclass(found, base)):
            raise ValueError(f"{target!r} is no {base.__name__}")
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        see = f"anyformer plugins check {id.partition('/')[0]}"
        raise ValueError(f"{kind} {id!r} cannot be used: {one_line(error)}; see: {see}") from error
    return found
