"""Making the sides of a case: our model from a home model's folder, and a home model as its manuals advise."""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from anyformer import api
from anyformer.infer.prepare import Precision, prepare
from anyformer.nn import Model
from anyformer.nn.config import Trunk


@dataclass(frozen=True)
class Ours:
    """A home model, read and made ready."""

    model: Model
    component: str
    trunk: Trunk

    @property
    def task(self) -> Any:
        """The task that it answers."""
        return self.model[self.component].task


def _save(home: Any, folder: Path) -> None:
    home.save_pretrained(folder)


def read(home: nn.Module, precision: str, save: Callable[[Any, Path], None] = _save, task: str | None = None) -> Ours:
    """Our model of the same weights, prepared as `anyformer.infer.prepare` does it for every model."""
    with tempfile.TemporaryDirectory() as folder:
        save(home, Path(folder))
        artifact = api.load(folder, task=task)
        return Ours(prepare(artifact.model, cast(Precision, precision)), artifact.component(), artifact.trunk)


def lowered(home: nn.Module, precision: str) -> nn.Module | None:
    """A home model in a precision, as PyTorch's manual has it; itself in fp32, None where there is no such way."""
    if precision == "fp32":
        return home
    if precision == "bf16":
        return copy.deepcopy(home).bfloat16()
    if precision == "int8" and any(type(module) is nn.Linear for module in home.modules()):
        with warnings.catch_warnings():  # it is on its way to another package
            warnings.simplefilter("ignore")
            return torch.ao.quantization.quantize_dynamic(home, {nn.Linear}, dtype=torch.qint8)
    return None


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function as the compiler makes it, its weights frozen; the first call compiles."""
    made: Callable[..., Any] = torch.compile(function, dynamic=False, options={"freezing": True})
    return made
