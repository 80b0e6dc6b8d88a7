"""`anyformer plugins`: which plugins are installed and how they are; check one, switch one off and on again."""

from __future__ import annotations

from typing import Annotated

import typer

from anyformer import plugins
from anyformer.cli import app
from anyformer.cli.output import Json, write, write_json, write_table

Name = Annotated[str, typer.Argument(help="The plugin's domain, as `anyformer plugins` lists it.")]

command = app(help="List, check and switch plugins.", invoke_without_command=True)


@command.callback()
def listing(context: typer.Context, json: Json = False) -> None:
    """List, check and switch plugins."""
    if context.invoked_subcommand is not None:
        return
    statuses = plugins.plugins()
    if json:
        write_json({"plugins": statuses})
        return
    if not statuses:
        write("no plugin is installed; to install one: pip install anyformer-DOMAIN")
        return
    rows = [[one.name, f"{one.distribution} {one.version}", one.state, one.num_tasks, one.summary] for one in statuses]
    write_table(["plugin", "distribution", "state", "tasks", "what it is"], rows)
    for one in statuses:
        if one.state != "ok":
            write(f"\n{one.name} ({one.distribution}), {one.state}: {one.reason}\n  to mend it: {one.fix}")


@command.command()
def check(context: typer.Context, name: Name, json: Json = False) -> int:
    """Resolve everything a plugin names. Exit code 1 if something is wrong; --debug shows where."""
    problems = plugins.check(name)
    if json:
        write_json({"plugin": name, "problems": problems})
    elif not problems:
        write(f"{name}: everything it names resolves")
    else:
        for problem in problems:
            write(f"{problem.what}: {problem.reason}\n  to mend it: {problem.fix}")
            if problem.trace and context.obj:
                write("\n".join(f"    {line}" for line in problem.trace.splitlines()))
    return 1 if problems else 0


@command.command()
def disable(name: Name, json: Json = False) -> None:
    """Switch a plugin off until it is enabled again."""
    _switched(name, "disabled", plugins.disable(name), json)


@command.command()
def enable(name: Name, json: Json = False) -> None:
    """Switch a plugin on again."""
    _switched(name, "enabled", plugins.enable(name), json)


def _switched(name: str, state: str, changed: bool, json: bool) -> None:
    if json:
        write_json({"plugin": name, "state": state, "changed": changed})
    else:
        write(f"{name} is {state}" if changed else f"{name} was {state} already")
