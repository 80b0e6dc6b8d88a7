"""The device that a name means."""

from __future__ import annotations

import os

import torch


def choose_device(name: str) -> torch.device:
    """The device called `name`; `auto` is a GPU if there is one. Each process that `torchrun` starts takes one of its own.

    Raises `ValueError` for one that is not here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        if device.type == "cuda":
            torch.cuda.set_device(device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"the device {name!r} cannot be used: {str(error).splitlines()[0]}") from None
    return device
