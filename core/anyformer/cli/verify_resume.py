"""`anyformer verify-resume DIR`: show that a run, stopped and resumed, learns the same as one that was not."""

from __future__ import annotations

from typing import Annotated

import typer

from anyformer.cli.output import Json, write, write_json


def command(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The run's folder.")],
    steps: Annotated[int, typer.Option(min=2, help="Steps to train, twice.")] = 4,
    json: Json = False,
) -> int:
    """Check that a run can be stopped and resumed.

    Trains a few steps of copies of the run, straight on and with a stop, compares samples, losses, weights and optimizer bit
    for bit, and names the first thing that differs. The run is not changed. Exit code 1: something differs.
    """
    from anyformer.api import verify_resume

    found = verify_resume(folder, steps=steps)
    if json:
        write_json({**vars(found), "same": found.same})
    else:
        write(str(found))
    return 0 if found.same else 1
