"""From an id to what a plugin gave under it, and the one line that helps where there is nothing.

An id is `domain/name`. A bare name works while one loaded plugin has it. A full id imports its own plugin alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anyformer.plugins.discovery import DOMAIN
from anyformer.plugins.guard import Plugin, did_you_mean

WORDS = {"tasks": "task", "tokenizers": "tokenizer", "presets": "preset"}
"""What an id of each kind is called in a message."""
MOST = 20
"""Ids that a message lists."""


def everything(plugins: Sequence[Plugin], kind: str) -> dict[str, Any]:
    """All that the plugins gave of one kind, by id."""
    return {f"{plugin.domain}/{name}": value for plugin in plugins for name, value in plugin.give(kind).items()}


def find(plugins: Sequence[Plugin], kind: str, name: str) -> tuple[str, Any]:
    """The full id and what stands under it; raises `ValueError` that says what exists and what to do."""
    domain, slash, bare = name.partition("/")
    if slash:
        for plugin in plugins:
            if plugin.domain == domain and bare in plugin.give(kind):
                return name, plugin.give(kind)[bare]
        raise ValueError(_unknown_id(plugins, kind, name))
    there = everything(plugins, kind)
    ids = [id for id in there if id.partition("/")[2] == name]
    if len(ids) > 1:
        raise ValueError(f"{name!r} is a {WORDS[kind]} of several plugins; write one of: {', '.join(ids)}")
    if not ids:
        raise ValueError(_unknown_name(plugins, kind, name))
    return ids[0], there[ids[0]]


def missing_plugin(plugins: Sequence[Plugin], domain: str) -> str:
    """What to say of a domain that no installed distribution claims."""
    domains = sorted({plugin.domain for plugin in plugins})
    near = did_you_mean(domain, domains)
    message = f"no plugin {domain!r} is installed{near}; installed: {', '.join(domains) or 'none'}"
    return f"{message}; to install it: pip install anyformer-{domain}" if DOMAIN.fullmatch(domain) else message


def _unknown_id(plugins: Sequence[Plugin], kind: str, name: str) -> str:
    word, domain = WORDS[kind], name.partition("/")[0]
    claiming = [plugin for plugin in plugins if plugin.domain == domain]
    if not claiming:
        return f"unknown {word} {name!r}: {missing_plugin(plugins, domain)}"
    for plugin in claiming:
        if (verdict := plugin.verdict) is not None:
            found = plugin.found
            return (
                f"{word} {name!r} is out of reach, its plugin is not in use: {found.distribution} {found.version}, "
                f"{verdict.state}: {verdict.reason}; to mend it: {verdict.fix}"
            )
    there = list(everything(claiming, kind))
    return f"unknown {word} {name!r}{did_you_mean(name, there)}; {domain} has: {_shown(there, kind)}"


def _unknown_name(plugins: Sequence[Plugin], kind: str, name: str) -> str:
    word, there = WORDS[kind], list(everything(plugins, kind))
    if not there:
        message = (
            f"unknown {word} {name!r}: no installed plugin gives a {word}; to install one: pip install anyformer-DOMAIN"
        )
    else:
        full = {id.partition("/")[2]: id for id in there}
        near = did_you_mean(name, full) or did_you_mean(name, there)
        message = f"unknown {word} {name!r}{near}; there are: {_shown(there, kind)}"
    idle = sorted({plugin.domain for plugin in plugins if plugin.verdict is not None})
    return f"{message}; not in use: {', '.join(idle)} (see: anyformer plugins)" if idle else message


def _shown(ids: Sequence[str], kind: str) -> str:
    """Ids for a message; of many, the first, and the command that lists them all."""
    if len(ids) <= MOST:
        return ", ".join(ids) or "none"
    return f"{', '.join(ids[:MOST])} and {len(ids) - MOST} more (see: anyformer {kind})"
