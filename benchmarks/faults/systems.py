"""What the harness asks of a system that trains."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

STEPS, SAVE_EVERY = 12, 4
"""Of a run, unless a case says otherwise."""
SAVED = 2 * SAVE_EVERY
"""The step whose save is struck."""


@dataclass
class Listener:
    """What a run is to call; the cases override what they need."""

    step_ended: Callable[[int], None] = lambda step: None
    """After each step, with how many are done; before they are saved."""
    saved: Callable[[], None] = lambda: None
    """After each checkpoint."""


class System(ABC):
    """A way of training, whose runs are folders."""

    name: str
    weights_file: str
    """In a checkpoint."""

    @abstractmethod
    def begin(self, folder: Path, listener: Listener, **options: Any) -> int:
        """Train to the end, in this process; returns the exit code. Options: `steps`, `save_every`, `keep`, `dropout`."""

    @abstractmethod
    def resume(self, folder: Path, listener: Listener, **options: Any) -> int:
        """Go on as its documentation says, from whatever is in the folder."""

    @abstractmethod
    def checkpoints(self, folder: Path) -> dict[int, Path]:
        """By step, in order."""

    @abstractmethod
    def final_weights(self, folder: Path) -> Path:
        """The file that a finished run leaves."""

    @abstractmethod
    def lines(self, folder: Path) -> list[Mapping[str, Any]]:
        """The log of a finished run, without times: mappings with `step`."""

    @abstractmethod
    def is_model(self, module: torch.nn.Module) -> bool:
        """Whether a module is the whole model, whose call gives the loss."""

    @abstractmethod
    def spoil(self, found: Any, number: float) -> Any:
        """What the model gave, with its loss times a number."""

    def digest(self, folder: Path) -> str | None:
        """SHA-256 of the final weights; None if there are none."""
        path = self.final_weights(folder)
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None

    def finite(self, checkpoint: Path) -> bool | None:
        """Whether all weights of a checkpoint are numbers; None if they cannot be read."""
        try:
            found = load_file(checkpoint / self.weights_file)
        except (SafetensorError, OSError):
            return None
        return all(bool(tensor.isfinite().all()) for tensor in found.values() if tensor.is_floating_point())
