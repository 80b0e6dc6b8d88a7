"""Where a run computes, and how narrow its arithmetic is.

* bf16 is taken as it is; with fp16 the loss is scaled (Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def choose_device(name: str) -> torch.device:
    """The device called `name`; `auto` is a GPU if there is one. Raises `ValueError` for one that is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"the device {name!r} cannot be used: {str(error).splitlines()[0]}") from None
    return device


def check_precision(device: torch.device, precision: str) -> None:
    """Raise `ValueError` for a precision that the device has not."""
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("training.precision=fp16 needs a GPU; on the CPU take bf16 or fp32")


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """The arithmetic of forward passes: bf16 or fp16 where asked for; `auto` is bf16 on a GPU that has it."""
    if precision == "fp16":
        return torch.autocast(device.type, torch.float16)
    half = precision == "bf16" or (precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported())
    return torch.autocast(device.type, torch.bfloat16) if half else nullcontext()


def loss_scaler(device: torch.device, precision: str) -> torch.amp.GradScaler:
    """Scales the loss so that small gradients survive fp16, and adapts the scale; else it does nothing."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
