"""`anyformer pretrain OBJECTIVE`: train a trunk on data without labels."""

from __future__ import annotations

from typing import Annotated

import typer

from anyformer.cli import arguments as given
from anyformer.cli.output import Json
from anyformer.cli.training import run_and_print


def command(
    objective: Annotated[
        str, typer.Argument(help="next-token, masked-token, span-corruption, denoising or masked-patch.")
    ],
    overrides: given.Overrides = None,
    *,
    tokenizer: Annotated[
        str, typer.Option("--tokenizer", help="Id of a plugin's tokenizer, for example weather/codes.")
    ],
    data: given.DataOption,
    out: given.OutOption,
    valid: given.ValidOption = None,
    columns: given.ColumnsOption = None,
    model: given.StartOption = None,
    preset: given.PresetOption = None,
    config: given.ConfigOption = None,
    json: Json = False,
) -> int:
    """Train a trunk on data without labels.

    The result is a model to start other tasks from: `anyformer finetune TASK --model OUT`.
    """

    def train() -> object:
        from anyformer.api import pretrain

        return pretrain(
            objective, tokenizer=tokenizer, data=data, out=out, valid=valid, columns=columns, model=model, preset=preset,
            settings=config, overrides=overrides or (),
        )  # fmt: skip

    return run_and_print(train, json)
