"""`anyformer presets`: the named configurations."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from anyformer import plugins
from anyformer.cli.output import Json, note_failing, write, write_json, write_table


def command(json: Json = False) -> None:
    """List the named configurations.

    Each with its exact number of parameters: a tied weight counts once. Of a preset that is a trunk alone, the trunk's
    parameters are counted.
    """
    from anyformer.preset import count

    def parameters(function: Callable[[], Any]) -> int | None:
        try:
            return count(function())
        except Exception:  # one plugin's mistake is no reason not to list the others
            return None

    rows = [
        {"id": id, "parameters": parameters(function), "summary": (inspect.getdoc(function) or "").partition("\n")[0]}
        for id, function in plugins.presets().items()
    ]
    if json:
        write_json({"presets": rows})
    elif rows:
        write_table(
            ["preset", "parameters", "what it is"],
            [[row["id"], _number(row["parameters"]), row["summary"]] for row in rows],
        )
    else:
        write("no installed plugin gives a preset")
    note_failing()


def _number(parameters: Any) -> str:
    return "wrong; see: anyformer plugins check" if parameters is None else f"{parameters:,}"
