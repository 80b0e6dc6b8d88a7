"""anyformer, as its shell runs it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from anyformer import api, plugins  # noqa: F401 - loaded before the forks
from anyformer.cli import main
from anyformer.hookspecs import hookimpl
from anyformer.nn import Model
from benchmarks.faults.systems import SAVE_EVERY, STEPS, Listener, System

TASK = "nlp/text-classification"
SMALL = [
    "trunk.encoder.width=32", "trunk.encoder.depth=1", "trunk.encoder.attention.heads=2",
    "trunk.encoder.feed_forward.width=64", "training.records=8", "training.log_every=1", "training.device=cpu",
]  # fmt: skip
STILL = ["trunk.encoder.dropout=0", "config.dropout=0", "config.token_dropout=0"]


class _Heard:
    """Passes on what a run tells."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener

    @hookimpl
    def anyformer_step_ended(self, line: Mapping[str, Any]) -> None:
        """With a line for each step, this is after each step."""
        self.listener.step_ended(line["step"])

    @hookimpl
    def anyformer_checkpoint_saved(self) -> None:
        """When it is on disk."""
        self.listener.saved()


class Ours(System):
    """`anyformer finetune` and `anyformer resume`."""

    name = "anyformer"
    weights_file = "rank0.safetensors"

    def __init__(self, rows: Sequence[Mapping[str, str]], folder: Path) -> None:
        self.data = folder / "rows.jsonl"
        self.data.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def begin(
        self, folder: Path, listener: Listener, *, steps: int = STEPS, save_every: int = SAVE_EVERY,
        keep: int = 9, dropout: bool = True,
    ) -> int:  # fmt: skip
        """Dropout and the task's augmentation are on, unless asked otherwise."""
        asked = [*SMALL, f"training.steps={steps}", f"training.save_every={save_every}", f"training.keep={keep}"]
        asked += [] if dropout else STILL
        return self._main(listener, "finetune", TASK, f"--data={self.data}", "--valid=none", f"--out={folder}", *asked)

    def resume(self, folder: Path, listener: Listener, **options: Any) -> int:
        """Its settings are in its folder."""
        return self._main(listener, "resume", str(folder))

    def _main(self, listener: Listener, *words: str) -> int:
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        plugins.register(_Heard(listener))
        return main(words)

    def checkpoints(self, folder: Path) -> dict[int, Path]:
        """Names are steps."""
        return {int(path.name): path for path in sorted((folder / "checkpoints").glob("[0-9]*"))}

    def final_weights(self, folder: Path) -> Path:
        """Of the artifact."""
        return folder / "model" / "model.safetensors"

    def lines(self, folder: Path) -> list[Mapping[str, Any]]:
        """Of metrics.jsonl."""
        found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [{name: value for name, value in line.items() if name != "seconds"} for line in found]

    def is_model(self, module: torch.nn.Module) -> bool:
        """The whole is a `Model`."""
        return isinstance(module, Model)

    def spoil(self, found: Any, number: float) -> Any:
        """Sums of loss by term."""
        return {term: value * number for term, value in found.items()}
