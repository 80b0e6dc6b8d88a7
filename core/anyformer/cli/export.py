"""`anyformer export MODEL DIR --to huggingface`: write a model as a folder that another library loads."""

from __future__ import annotations

from typing import Annotated

import typer

from anyformer.cli.output import Json, write, write_json


def command(
    model: Annotated[str, typer.Argument(help="A run's folder or a model's.")],
    out: Annotated[str, typer.Argument(help="The folder to write, new or empty.", metavar="DIR")],
    *,
    to: Annotated[str, typer.Option("--to", help="The library that is to read it.")] = "huggingface",
    task: Annotated[str | None, typer.Option("--task", help="Which of the model's tasks, if it has several.")] = None,
    family: Annotated[str | None, typer.Option("--family", help="Id of the layout, if several can express it.")] = None,
    json: Json = False,
) -> None:
    """Write a model for another library.

    A model that came from such a folder goes back with the same keys, types and settings.
    """
    from anyformer.api import export

    done = export(model, out, to, task, family)
    if json:
        write_json({"out": out, **vars(done)})
        return
    write(f"{out}: {done.architecture} ({done.family})")
    if not done.has_tokenizer:
        write("without a tokenizer: this one has no files that the other library reads")
