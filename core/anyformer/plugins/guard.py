"""One plugin, imported and called under a guard: whatever it raises is written down and goes no further.

* Each plugin has a pluggy manager of its own, so that a hook is called for one plugin and fails for one plugin.
* The guard stops everything but `KeyboardInterrupt`: a plugin that calls `sys.exit` ends nothing.
* What a plugin prints while it loads goes to standard error, so that `--json` stays JSON.
* A hook that fails marks its plugin as broken; what the other hooks gave stays in use, whatever was asked first.
"""

from __future__ import annotations

import contextlib
import difflib
import shlex
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pluggy

from anyformer import hookspecs
from anyformer.hookspecs import GROUP
from anyformer.plugins.discovery import Found, Verdict

PREFIX = "anyformer_"
HOOKS = tuple(name for name in vars(hookspecs) if name.startswith(PREFIX))


def _is_spec(value: object) -> bool:
    """By shape and not by class: the class lives beside pydantic and numpy, which listing need not import."""
    return isinstance(getattr(value, "target", None), str) and isinstance(getattr(value, "summary", None), str)


def _is_family(value: object) -> bool:
    """By shape, for the same reason."""
    return isinstance(getattr(value, "match", None), Mapping) and callable(getattr(value, "weights", None))


def _is_reference(value: object) -> bool:
    return isinstance(value, str) and ":" in value


KINDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "tasks": ("a TaskSpec", _is_spec),
    "tokenizers": ("a TokenizerSpec", _is_spec),
    "families": ("a Family", _is_family),
    "presets": ("a function", callable),
    "readers": ("a lazy reference 'package.module:function'", _is_reference),
}
"""What the hooks that return things must return under each name, in words and as a test."""


class Plugin:
    """A found plugin: imported at the first question, its hooks called once each."""

    def __init__(self, found: Found, verdict: Verdict | None) -> None:
        self.found = found
        self.domain = found.domain
        self.verdict = verdict
        """None as long as nothing is known against it."""
        self.about = found.summary
        """What it is, in one line: the first line of its docstring once it is imported."""
        self.manager: pluggy.PluginManager | None = None
        self._given: dict[str, Mapping[str, Any]] = {}

    def load(self) -> pluggy.PluginManager | None:
        """Import the plugin, once; None if something speaks against it."""
        if self.manager is None and self.verdict is None:
            with self._guard("at import"):
                assert self.found.entry is not None
                page = self.found.entry.load()
                self.about = (getattr(page, "__doc__", None) or self.about).strip().partition("\n")[0]
                self.manager = manager_of(page, self.domain)
        return self.manager

    def give(self, kind: str) -> Mapping[str, Any]:
        """What the hook `anyformer_{kind}` returns by name; nothing if there is no such hook, or it failed."""
        if kind not in self._given:
            self._given[kind] = {}
            if (manager := self.load()) is not None:
                with self._guard(f"in {PREFIX}{kind}"):
                    self._given[kind] = _call(manager, kind)
        return self._given[kind]

    @contextlib.contextmanager
    def _guard(self, doing: str) -> Iterator[None]:
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if self.verdict is None:  # the first failure is the one to mend first
                fix = f"pip install --upgrade {shlex.quote(self.found.distribution)}"
                trace = "".join(traceback.format_exception(error))
                self.verdict = Verdict("broken", f"{doing}: {one_line(error)}", fix, trace)


def manager_of(plugin: object, name: str) -> pluggy.PluginManager:
    """A manager that holds this plugin alone. Raises `ValueError` for a hook that does not exist, or is not marked."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    for attribute in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, attribute)
        if options is None:
            if attribute in HOOKS:
                raise ValueError(f"{attribute} is not marked; write @hookimpl above it")
            continue
        hook = options.get("specname") or attribute
        if hook not in HOOKS:
            raise ValueError(f"there is no hook {hook!r}{did_you_mean(hook, HOOKS)}; hooks: {', '.join(HOOKS)}")
    try:
        manager.register(plugin, name=name)
    except pluggy.PluginValidationError as error:
        raise ValueError(" ".join(str(error).split())) from error
    return manager


def _call(manager: pluggy.PluginManager, kind: str) -> Mapping[str, Any]:
    """Call one hook of one plugin and hold its answer to what the hook promises."""
    caller = getattr(manager.hook, PREFIX + kind)
    if not caller.get_hookimpls():
        return {}
    answers = caller()
    if not answers or not isinstance(answers[0], Mapping):
        given = type(answers[0]).__name__ if answers else "None"
        raise ValueError(f"it returned {given}; it must return a mapping by name")
    expected, fits = KINDS[kind]
    for name, value in answers[0].items():
        if not isinstance(name, str) or not name or ("/" in name and kind != "readers"):
            raise ValueError(f"{name!r} is no name; the core makes an id of it, with the domain and '/' before it")
        if not fits(value):
            raise ValueError(f"{name!r} is {value!r:.80}; it must be {expected}")
    return dict(answers[0])


def one_line(error: BaseException) -> str:
    """An exception in one line for a person: its type and what it says; a `ValueError` speaks for itself."""
    text = " ".join("".join(traceback.format_exception_only(error)).split())
    text = text.removeprefix("ValueError: ")
    return text if len(text) <= 300 else text[:297] + "..."


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"` for the nearest choice, or nothing where none is near."""
    near = difflib.get_close_matches(word, list(choices), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
