"""Does everything that a plugin names resolve, and does a task fill what it must? Imports whatever that takes.

Each target is tried by itself, so one answer lists all that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from anyformer.plugins.discovery import installed, requirements
from anyformer.plugins.guard import KINDS, Plugin, one_line
from anyformer.task import Task, Tokenizer, resolve

FILLED = ("examples", "encode", "learn", "head", "decode", "metrics", "baselines", "draw")
"""What a task must write itself: the base class raises `NotImplementedError`."""
TYPED = ("Config", "Input", "Target", "Output", "Options")
"""What must be a pydantic model in a task."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a plugin."""

    what: str
    """A plugin, or one of the things it gives: `task weather/rain`."""
    reason: str
    fix: str
    """What to do: a command, or what its author changes."""
    trace: str = ""
    """The traceback, where something was raised."""


def problems(plugin: Plugin) -> Iterator[Problem]:
    """All that is wrong with one plugin; nothing for one that is whole."""
    for kind in KINDS:
        plugin.give(kind)
    if plugin.verdict is not None:
        yield Problem(f"plugin {plugin.domain}", plugin.verdict.reason, plugin.verdict.fix, plugin.verdict.trace)
    if plugin.load() is None:
        return
    yield from _versions(plugin)
    for name, spec in plugin.give("tasks").items():
        yield from _task(f"task {plugin.domain}/{name}", spec.target)
    for name, spec in plugin.give("tokenizers").items():
        yield from _tokenizer(f"tokenizer {plugin.domain}/{name}", spec.target)
    for name, family in plugin.give("families").items():
        yield from _family(f"family {plugin.domain}/{name}", family)
    for name, function in plugin.give("presets").items():
        yield from _preset(f"preset {plugin.domain}/{name}", function)
    for name, reference in plugin.give("readers").items():
        yield from _function(f"reader {name} of {plugin.domain}", reference)


def _versions(plugin: Plugin) -> Iterator[Problem]:
    for requirement in requirements(plugin.found):
        there = installed(requirement.name)
        if there is not None and not requirement.specifier.contains(there.version, prereleases=True):
            reason = f"it requires {requirement}, installed is {there.version}"
            yield Problem(f"plugin {plugin.domain}", reason, f"pip install '{requirement}'")


def _task(what: str, target: str) -> Iterator[Problem]:
    found, problem = _attempt(what, lambda: resolve(target), f"correct the target {target!r} in anyformer_tasks")
    if problem is not None:
        yield problem
        return
    if not (isinstance(found, type) and issubclass(found, Task)):
        yield Problem(what, f"{target!r} is no Task", "derive the class from anyformer.Task")
        return
    for name in TYPED:
        model = getattr(found, name, None)
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            yield Problem(what, f"{name} is not defined", f"define the pydantic model {name} in {target}")
    for name in FILLED:
        if getattr(getattr(found, name), "__func__", getattr(found, name)) is _base(name):
            yield Problem(what, f"{name} is not defined", f"define the method {name} in {target}")
    if found.trunk not in ("encoder", "decoder", "both"):
        yield Problem(what, f"trunk is {found.trunk!r}", f"write 'encoder', 'decoder' or 'both' in {target}")
    for name, reference in found.tokenizers.items():
        yield from _tokenizer(f"{what}, its tokenizer {name!r}", reference)
    yield from _function(f"{what}, its solver", found.solver)
    if found.demo is not None:
        yield from _function(f"{what}, its demo", found.demo)


def _base(name: str) -> Any:
    """What stands under a name in `Task` itself, as a plain function."""
    return getattr(getattr(Task, name), "__func__", getattr(Task, name))


def _tokenizer(what: str, target: str) -> Iterator[Problem]:
    found, problem = _attempt(what, lambda: resolve(target), f"correct the reference {target!r}")
    if problem is not None:
        yield problem
    elif not (isinstance(found, type) and issubclass(found, Tokenizer)):
        yield Problem(what, f"{target!r} is no Tokenizer", "derive the class from anyformer.Tokenizer")
    elif found.encode is Tokenizer.encode:
        yield Problem(what, "encode is not defined", f"define the method encode in {target}")


def _family(what: str, family: Any) -> Iterator[Problem]:
    from anyformer import plugins

    _, problem = _attempt(
        what, lambda: plugins.tokenizer(family.tokenizer), f"correct its tokenizer {family.tokenizer!r}"
    )
    if problem is not None:
        yield problem
    for name, architecture in family.served():
        _, problem = _attempt(f"{what}, {name}", lambda id=architecture.task: plugins.task(id), "correct its task")  # type: ignore[misc]
        if problem is not None:
            yield problem


def _preset(what: str, function: Callable[[], Any]) -> Iterator[Problem]:
    config, problem = _attempt(what, function, "correct the function, or the fields it sets")
    if problem is not None:
        yield problem
        return
    if not isinstance(config, (resolve("anyformer.nn.config:Trunk"), resolve("anyformer.preset:Preset"))):
        yield Problem(what, f"it returns {type(config).__name__}", "return an anyformer.preset.Preset or a Trunk")
        return
    _, problem = _attempt(what, lambda: resolve("anyformer.preset:count")(config), "correct the fields it sets")
    if problem is not None:
        yield problem


def _function(what: str, reference: str) -> Iterator[Problem]:
    found, problem = _attempt(what, lambda: resolve(reference), f"correct the reference {reference!r}")
    if problem is not None:
        yield problem
    elif not callable(found):
        yield Problem(what, f"{reference!r} is no function", "name a function")


def _attempt(what: str, call: Callable[[], Any], fix: str) -> tuple[Any, Problem | None]:
    """What a call returns, or the problem it ran into; as with a plugin's page, nothing it raises goes further."""
    import traceback

    try:
        return call(), None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return None, Problem(what, one_line(error), fix, "".join(traceback.format_exception(error)))
