"""`anyformer evaluate TASK`: score a model on data, beside the task's baselines."""

from __future__ import annotations

from typing import Annotated

import typer

from anyformer.cli import arguments as given
from anyformer.cli.output import Json, write, write_json


def command(
    task: Annotated[str, typer.Argument(help="Id of the task; see: anyformer tasks.")],
    *,
    model: Annotated[str, typer.Option("--model", help="A run's folder or a model's.")],
    data: given.DataOption,
    columns: given.ColumnsOption = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    device: given.DeviceOption = "cpu",
    precision: given.PrecisionOption = None,
    json: Json = False,
) -> None:
    """Score a model beside its baselines.

    Prints each metric with its 95 % interval and the baselines' values, and whether the model has shown skill.
    With a --precision below fp32, the same in fp32 stands beside it, with the difference and the time of each.
    """
    from anyformer.api import evaluate

    found = evaluate(task, model=model, data=data, columns=columns, seed=seed, device=device, precision=precision)
    if json:
        write_json(found.as_dict())
    else:
        write(str(found))
