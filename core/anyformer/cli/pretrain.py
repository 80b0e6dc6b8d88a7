"""`anyformer pretrain OBJECTIVE` or `anyformer pretrain MIXTURE.yaml`: train a trunk without labels, or on several tasks."""

from __future__ import annotations

from typing import Annotated

import typer

from anyformer.cli import arguments as given
from anyformer.cli.output import Json
from anyformer.cli.training import run_and_print


def command(
    what: Annotated[
        str,
        typer.Argument(
            metavar="OBJECTIVE|FILE",
            help="next-token, masked-token, span-corruption, denoising or masked-patch; or a mixture's YAML file.",
        ),
    ],
    overrides: given.Overrides = None,
    *,
    tokenizer: Annotated[
        str | None,
        typer.Option("--tokenizer", help="Of an objective: id of a plugin's tokenizer, such as weather/codes."),
    ] = None,
    data: given.ObjectiveDataOption = None,
    out: given.OutOption,
    valid: given.ValidOption = None,
    columns: given.ColumnsOption = None,
    model: given.StartOption = None,
    preset: given.PresetOption = None,
    config: given.ConfigOption = None,
    json: Json = False,
) -> int:
    """Train a trunk on data without labels, or on several tasks.

    Either with an objective and its --tokenizer and --data, or with a mixture: a YAML file with a list `mixture` of tasks
    and objectives, each with its data, and with `trunk` and `training` for all.

    The result is a model to start other tasks from: `anyformer finetune TASK --model OUT`; of a mixture, one that serves
    its tasks as well.
    """

    def train() -> object:
        from anyformer.api import pretrain
        from anyformer.mixture import is_file

        objective, mixture = (None, what) if is_file(what) else (what, None)
        return pretrain(
            objective, mixture=mixture, tokenizer=tokenizer, data=data, out=out, valid=valid, columns=columns, model=model,
            preset=preset, settings=config, overrides=overrides or (),
        )  # fmt: skip

    return run_and_print(train, json)
