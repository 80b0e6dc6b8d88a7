"""`anyformer tasks`: what can be asked for."""

from __future__ import annotations

from anyformer import plugins
from anyformer.cli.output import Json, note_failing, write, write_json, write_table


def command(json: Json = False) -> None:
    """List what can be asked for."""
    tasks = plugins.tasks()
    if json:
        rows = []
        for id, spec in tasks.items():
            distribution, version = plugins.distribution_of(id.partition("/")[0])
            rows.append({"id": id, "summary": spec.summary, "distribution": distribution, "version": version})
        write_json({"tasks": rows})
    elif tasks:
        write_table(["task", "what it does"], [[id, spec.summary] for id, spec in tasks.items()])
    else:
        write("no task is installed; to install a plugin: pip install anyformer-DOMAIN")
    note_failing()
