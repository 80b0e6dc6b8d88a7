"""Arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings, dotted: training.steps=500 config.pool=mean.")
]
DataOption = Annotated[
    str,
    typer.Option("--data", help="A file, its rows 'file.csv[:100]', a pattern, a folder, or field=file,field=file."),
]
ObjectiveDataOption = Annotated[str | None, typer.Option("--data", help="Of an objective: as for finetune.")]
ValidOption = Annotated[
    str | None, typer.Option("--valid", help="Held-out data, a share of --data to hold out (0.1), or none.")
]
ColumnsOption = Annotated[
    str | None, typer.Option("--columns", help="Names of a headerless file's columns a,b or new names field=column.")
]
OutOption = Annotated[str, typer.Option("--out", help="The run's folder, new or empty.")]
StartOption = Annotated[str | None, typer.Option("--model", help="A model to start from.")]
PresetOption = Annotated[str | None, typer.Option("--preset", help="A named trunk; see: anyformer presets.")]
ConfigOption = Annotated[str | None, typer.Option("--config", "-c", help="A YAML file of settings.")]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, or auto.")]
PrecisionOption = Annotated[
    str | None,
    typer.Option("--precision", help="fp32, bf16, int8 or fp16-weights: make the model ready for this machine."),
]
