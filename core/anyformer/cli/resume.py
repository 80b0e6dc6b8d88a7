"""`anyformer resume DIR`: go on with a run from its newest checkpoint."""

from __future__ import annotations

from typing import Annotated

import typer

from anyformer.cli.output import Json
from anyformer.cli.training import run_and_print


def command(folder: Annotated[str, typer.Argument(metavar="DIR", help="The run's folder.")], json: Json = False) -> int:
    """Go on with a run that was stopped.

    On the same device and number of threads it ends with the same weights, bit for bit, as if it had not been stopped.
    """

    def train() -> object:
        from anyformer.api import resume

        return resume(folder)

    return run_and_print(train, json)
