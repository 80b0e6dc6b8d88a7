"""Where a run computes, and how narrow its arithmetic is.

* bf16 is taken as it is; with fp16 the loss is scaled (Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from anyformer.train.parallel.gradients import own


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


class LossScaler:
    """Scales the loss so that small gradients survive fp16: half the scale after an overflow, twice after a while without.

    torch's own looks at gradients before they are summed over ranks. Then scales would drift apart, and a rank without
    samples in a step would have nothing to look at.
    """

    def __init__(self, device: torch.device, enabled: bool, scale: float = 2.0**16, patience: int = 2000) -> None:
        self.enabled, self.patience = enabled, patience
        self.factor = torch.tensor(scale, device=device)
        self.num_good = torch.tensor(0, device=device)
        """Updates in a row without an overflow."""

    def scale(self, loss: Tensor) -> Tensor:
        """The loss, made larger."""
        return loss * self.factor if self.enabled else loss

    @torch.no_grad()
    def unscale(self, parameters: Iterable[nn.Parameter]) -> None:
        """Make gradients, already summed over ranks, those of the loss itself."""
        if self.enabled:
            for weight in parameters:
                if weight.grad is not None:
                    own(weight.grad).mul_(1 / self.factor)

    def update(self, finite: Tensor) -> None:
        """Adapt the scale to whether the gradient was `finite`, a truth value on the device; nothing is waited for."""
        if self.enabled:
            self.num_good = torch.where(finite, self.num_good + 1, 0)
            grows = self.num_good >= self.patience
            self.factor = self.factor * torch.where(finite, torch.where(grows, 2.0, 1.0), 0.5)
            self.num_good = torch.where(grows, 0, self.num_good)

    def scalars(self) -> dict[str, float]:
        """What a checkpoint holds of it."""
        return {"scale": float(self.factor), "num_good": int(self.num_good)}

    def restore(self, scalars: Mapping[str, float]) -> None:
        """Go back to a checkpoint."""
        self.factor.fill_(scalars["scale"])
        self.num_good.fill_(scalars["num_good"])
