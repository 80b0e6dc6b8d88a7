"""`anyformer presets`: the named configurations."""

from __future__ import annotations

import inspect

from anyformer import plugins
from anyformer.cli.output import Json, note_failing, write, write_json, write_table


def command(json: Json = False) -> None:
    """List the named configurations."""
    rows = [[id, (inspect.getdoc(function) or "").partition("\n")[0]] for id, function in plugins.presets().items()]
    if json:
        write_json({"presets": [{"id": id, "summary": summary} for id, summary in rows]})
    elif rows:
        write_table(["preset", "what it is"], rows)
    else:
        write("no installed plugin gives a preset")
    note_failing()
