"""The shell: `anyformer COMMAND`. A command is a module, and is imported when it is run or asked for its help.

A module of a command exposes `command`, which is either

* a function, whose typed parameters are the flags (see typer) and whose docstring is the help, or
* a `typer.Typer` made by `app()`, for a command with commands of its own or with settings of its own.

Either prints through `anyformer.cli.output`, raises `ValueError` for a user's error, and returns None, or its exit code.
One that takes a `typer.Context` finds in its `obj` whether `--debug` was asked for.
To add a command: write the module, and a row in `COMMANDS`; the row's words are the first sentence of its help.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from anyformer.cli.errors import guarded


class Command(NamedTuple):
    """A row of the table of commands."""

    module: str
    help: str


COMMANDS = {
    "demo": Command("anyformer.cli.demo", "Every plugin learns something real in a minute or two."),
    "tasks": Command("anyformer.cli.tasks", "List what can be asked for."),
    "presets": Command("anyformer.cli.presets", "List the named configurations."),
    "run": Command("anyformer.cli.run", "Answer inputs with a model."),
    "finetune": Command("anyformer.cli.finetune", "Train a task on your data."),
    "pretrain": Command("anyformer.cli.pretrain", "Train a trunk on data without labels, or on several tasks."),
    "evaluate": Command("anyformer.cli.evaluate", "Score a model beside its baselines."),
    "export": Command("anyformer.cli.export", "Write a model for another library."),
    "resume": Command("anyformer.cli.resume", "Go on with a run that was stopped."),
    "verify-resume": Command("anyformer.cli.verify_resume", "Check that a run can be stopped and resumed."),
    "plugins": Command("anyformer.cli.plugins", "List, check and switch plugins."),
}
"""Every command, in the order of `anyformer --help`."""


class Commands(TyperGroup):
    """A group that knows its commands by the table alone, and imports the one that is run."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, row in COMMANDS.items():
            self.add_command(TyperCommand(name, help=row.help, rich_markup_mode=None), name)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> tuple[str | None, Any, list[str]]:  # type: ignore[override]
        """The command itself in place of its row."""
        name, *rest = args
        if name not in COMMANDS:
            from anyformer.plugins.guard import did_you_mean

            near = did_you_mean(name, COMMANDS)
            raise ValueError(f"unknown command {name!r}{near}; commands: {', '.join(COMMANDS)}")
        return name, _load(name), rest


def app(**settings: Any) -> typer.Typer:
    """A `typer.Typer` that looks like the rest of the shell: plain help, no completion flags."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, **settings)


def main(args: Sequence[str] | None = None) -> int:
    """Run a command line (default: the process's own) and return its exit code."""
    words = list(sys.argv[1:] if args is None else args)
    end = words.index("--") if "--" in words else len(words)
    debug = "--debug" in words[:end] or os.environ.get("ANYFORMER_DEBUG", "") not in ("", "0")
    words = [word for word in words[:end] if word != "--debug"] + words[end:] or ["--help"]
    if debug:
        words.insert(0, "--debug")  # it may stand anywhere; the group of commands reads it in front
    command = get_command(_root)
    return guarded(lambda: command.main(words, "anyformer", standalone_mode=False), debug)


def _load(name: str) -> Any:
    command = importlib.import_module(COMMANDS[name].module).command
    if not isinstance(command, typer.Typer):
        single = app()
        single.command(name)(command)
        command = single
    return get_command(command)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        sys.stdout.write(f"anyformer {version('anyformer')}\n")
        raise typer.Exit()


Version = Annotated[bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error (or ANYFORMER_DEBUG=1).")]

_root = app(cls=Commands, subcommand_metavar="COMMAND ...")


@_root.callback()
def _options(context: typer.Context, version: Version = False, debug: Debug = False) -> None:
    """One Transformer, any domain."""
    context.obj = debug
