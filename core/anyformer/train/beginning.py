"""What must be true before a run writes anything: a folder that is free, and a model that can be trained as asked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anyformer.artifact import Artifact
from anyformer.device import choose_device
from anyformer.train.device import check_precision
from anyformer.train.selection import Best, all_directions
from anyformer.train.settings import Training
from anyformer.train.trainable import choose_trainable, trained


def refuse_used(folder: Path) -> None:
    """Raise `ValueError` if `folder` cannot become a new run."""
    if folder.name in ("", ".."):
        raise ValueError(f"{str(folder)!r} is no name for a run's folder; give a new one, for example runs/first")
    if (folder / "run.yaml").is_file():
        raise ValueError(f"{folder} already holds a run; go on with: anyformer resume {folder}; or give another folder")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists and is not empty; give another folder for the run")
    above = next(path for path in folder.absolute().parents if path.exists())
    if not above.is_dir():
        raise ValueError(f"{folder} cannot be made: {above} is no folder; give another folder for the run")
    if not os.access(above, os.W_OK | os.X_OK):
        raise ValueError(f"{folder} cannot be made: {above} cannot be written to; give another folder for the run")


def prepare_method(artifact: Artifact, asked: Mapping[str, Any], training: Training) -> str | None:
    """Give the model its adapters and freeze what is not to be trained; returns a line about the weights that are.

    Raises `ValueError` if the settings ask for what the model, the data or the device has not.
    """
    components = list(artifact.model.components)
    check_precision(choose_device(training.device), training.precision)
    if training.selection is not None:
        Best(training.selection, all_directions(artifact.model, components))
        if asked.get("data", {}).get("valid_rows") == 0:
            raise ValueError("training.selection needs held-out data; give some with valid, or leave the setting out")
    choose_trainable(artifact.model, components, training)
    return trained(artifact.model)
