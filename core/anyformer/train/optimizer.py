"""The optimizer with its decay groups, and the learning rate of a step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from anyformer.train.settings import AdamW, Cosine, Linear, Optimizer, Schedule


def optimizer_for(model: nn.Module, settings: Optimizer) -> torch.optim.Optimizer:
    """An optimizer over two groups: matrices decay; biases, norms and other vectors do not."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if isinstance(settings, AdamW):
        return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, eps=settings.epsilon, fused=True)
    return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, fused=True)


def learning_rate_factor(schedule: Schedule, step: int, num_steps: int) -> float:
    """Share of the peak learning rate at `step` of `num_steps`, counted from 0.

    Warm-up reaches the peak at its last step; the decay reaches `final` when the last step is done.
    """
    if step < schedule.warmup:
        return (step + 1) / schedule.warmup
    progress = (step - schedule.warmup) / max(1, num_steps - schedule.warmup)
    if isinstance(schedule, Cosine):
        return schedule.final + (1 - schedule.final) * 0.5 * (1 + math.cos(math.pi * progress))
    if isinstance(schedule, Linear):
        return schedule.final + (1 - schedule.final) * (1 - progress)
    return 1.0


def state_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, torch.Tensor]:
    """The optimizer's state, keyed by parameter name and then by the optimizer's own name for it."""
    names: dict[torch.Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{names[parameter]}/{key}": torch.as_tensor(value)
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
        if value is not None
    }


def load_state_tensors(optimizer: torch.optim.Optimizer, model: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Put back what `state_tensors` gave."""
    parameters = dict(model.named_parameters())
    for path, tensor in tensors.items():
        name, _, key = path.rpartition("/")
        parameter = parameters[name]
        # All of it, the count of steps included, stands beside the parameter: the fused kernels want it there.
        optimizer.state[parameter][key] = tensor.to(parameter.device, copy=True)
