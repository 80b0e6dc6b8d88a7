"""`anyformer finetune TASK`: train a task, from scratch or from a model, and score it beside its baselines."""

from __future__ import annotations

from typing import Annotated

import typer

from anyformer.cli import arguments as given
from anyformer.cli.output import Json
from anyformer.cli.training import run_and_print


def command(
    task: Annotated[str, typer.Argument(help="Id of the task; see: anyformer tasks.")],
    overrides: given.Overrides = None,
    *,
    data: given.DataOption,
    out: given.OutOption,
    valid: given.ValidOption = None,
    columns: given.ColumnsOption = None,
    model: given.StartOption = None,
    preset: given.PresetOption = None,
    config: given.ConfigOption = None,
    json: Json = False,
) -> int:
    """Train a task on your data.

    What was trained, its scores and pictures are in the folder given by --out. A stopped run goes on with `resume`.
    """

    def train() -> object:
        from anyformer.api import finetune

        return finetune(
            task, data=data, out=out, valid=valid, columns=columns, model=model, preset=preset, settings=config,
            overrides=overrides or (),
        )  # fmt: skip

    return run_and_print(train, json)
