"""Events of a run, told to every plugin that listens and to listeners registered in this process.

A listener that raises is switched off for the rest of the process with one line on standard error: a progress bar or a
logger must never end a training.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterable
from typing import Any

import pluggy

from anyformer.plugins.guard import HOOKS, KINDS, PREFIX, Plugin, manager_of, one_line

EVENTS = tuple(hook.removeprefix(PREFIX) for hook in HOOKS if hook.removeprefix(PREFIX) not in KINDS)
"""Names `tell` takes: `run_started`, `step_ended`, ..."""

_registered: dict[int, tuple[object, pluggy.PluginManager]] = {}
"""Listeners of this process by identity, in the order they came."""
_silenced: weakref.WeakSet[pluggy.PluginManager] = weakref.WeakSet()
"""Managers whose listener raised."""


def register(listener: object) -> None:
    """Let an object hear the events: its methods (or a module's functions) marked `@hookimpl`. Twice is once.

    Raises `ValueError` for a hook that does not exist.
    """
    _registered.setdefault(id(listener), (listener, manager_of(listener, type(listener).__name__)))


def unregister(listener: object) -> None:
    """Tell it no more; an object that never listened is none the worse for it."""
    _registered.pop(id(listener), None)


def tell(plugins: Iterable[Plugin], event: str, arguments: dict[str, Any]) -> None:
    """Call the hook of an event for each plugin, then for each registered listener, each by itself."""
    assert event in EVENTS, f"no event {event!r} among {EVENTS}"
    managers = [manager for plugin in plugins if (manager := plugin.load()) is not None]
    managers += [manager for _, manager in list(_registered.values())]
    for manager in managers:
        if manager not in _silenced:
            _tell(manager, event, arguments)


def _tell(manager: pluggy.PluginManager, event: str, arguments: dict[str, Any]) -> None:
    try:
        getattr(manager.hook, PREFIX + event)(**arguments)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        _silenced.add(manager)
        name = manager.list_name_plugin()[0][0]
        sys.stderr.write(
            f"warning: the listener of {name!r} is switched off, it raised in {event}: {one_line(error)}\n"
        )
