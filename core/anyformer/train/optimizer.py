"""The optimizer with its groups, and the learning rate of a step.

* Weights of two or more axes decay: projections and tables. Biases, norms and other vectors do not.
* Frozen weights are in no group.
* The fused kernels are called as they are: torch's own step refuses what is spread over processes, or walks through options
  that nobody set, which costs as much as the update of a small model. Both kernels take two scalars from the device:
  `found_inf`, at 1 of which nothing moves, and `grad_scale`, which gradients are divided by: clipping needs no pass of its
  own.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from anyformer.train.layer_decay import heights
from anyformer.train.parallel.gradients import own
from anyformer.train.pieces import Stored, fill
from anyformer.train.settings import AdamW, Constant, InverseSquareRoot, Linear, Optimizer, Schedule, WarmupStableDecay


def optimizer_for(model: nn.Module, settings: Optimizer, layer_decay: float | None = None) -> torch.optim.Optimizer:
    """An optimizer over groups of one weight decay and one share of the learning rate, `share` in the group.

    Without `layer_decay` there are two groups at most, those that decay first, and every share is 1.
    """
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    shares = dict.fromkeys(named, 1.0)
    if layer_decay is not None:
        found = heights([name for name, _ in model.named_parameters()])
        shares = {name: layer_decay ** (max(found.values()) - found[name]) for name in named}
    members: defaultdict[tuple[float, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in named.items():
        members[shares[name], parameter.ndim > 1].append(parameter)
    groups = [
        {"params": members[key], "share": key[0], "weight_decay": settings.weight_decay if key[1] else 0.0}
        for key in sorted(members, reverse=True)
    ]
    if isinstance(settings, AdamW):
        return _AdamW(groups, lr=settings.lr, betas=settings.betas, eps=settings.epsilon, fused=True)
    return _SGD(groups, lr=settings.lr, momentum=settings.momentum)


def clip(optimizer: torch.optim.Optimizer, norm: Tensor, max_norm: float | None) -> None:
    """Let the next step take gradients of the norm `norm`, a scalar, as if it were at most `max_norm`; None: as they are."""
    scale = None if max_norm is None else ((norm + 1e-6) / max_norm).clamp(min=1.0).float()
    optimizer.grad_scale = scale  # type: ignore[attr-defined]  # read below, with `found_inf`


class _AdamW(torch.optim.AdamW):
    """Torch's kernel, over the parts of weights that this process holds."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update, unless `found_inf`, on the device, is 1."""
        found_inf: Tensor | None = getattr(self, "found_inf", None)
        for group in self.param_groups:
            learned = [weight for weight in group["params"] if weight.grad is not None]
            if not learned:
                continue
            states = [self.state[weight] or self._begin(weight) for weight in learned]
            steps = [state["step"] for state in states]
            torch._foreach_add_(steps, 1 if found_inf is None else 1 - found_inf)
            torch._fused_adamw_(
                [own(each) for each in learned], [own(each.grad) for each in learned],
                [own(state["exp_avg"]) for state in states], [own(state["exp_avg_sq"]) for state in states], [], steps,
                lr=group["lr"], beta1=group["betas"][0], beta2=group["betas"][1], weight_decay=group["weight_decay"],
                eps=group["eps"], amsgrad=False, maximize=False, grad_scale=getattr(self, "grad_scale", None),
                found_inf=found_inf,
            )  # fmt: skip

    def _begin(self, weight: nn.Parameter) -> dict[str, Tensor]:
        """The state of a weight before its first update."""
        state = self.state[weight]
        state["step"] = torch.zeros((), device=weight.device)
        state["exp_avg"], state["exp_avg_sq"] = (torch.zeros_like(weight, requires_grad=False) for _ in range(2))
        return state


class _SGD(torch.optim.SGD):
    """Torch's kernel, over the parts of weights that this process holds.

    Momentum is 0 from the beginning. Torch begins with memory as it finds it, which would stay there if the first update is
    left out, and it refuses a weight whose first gradient comes later than those of others.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, momentum: float) -> None:
        super().__init__(groups, lr=lr, momentum=momentum, fused=True)
        for group in self.param_groups if momentum else ():
            for weight in group["params"]:
                self.state[weight]["momentum_buffer"] = torch.zeros_like(weight, requires_grad=False)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update, unless `found_inf`, on the device, is 1."""
        for group in self.param_groups:
            learned = [weight for weight in group["params"] if weight.grad is not None]
            if learned:
                buffers = [own(self.state[each]["momentum_buffer"]) for each in learned] if group["momentum"] else []
                torch._fused_sgd_(
                    [own(each) for each in learned], [own(each.grad) for each in learned], buffers,
                    weight_decay=group["weight_decay"], momentum=group["momentum"], lr=group["lr"], dampening=0.0,
                    nesterov=False, maximize=False, is_first_step=False, grad_scale=getattr(self, "grad_scale", None),
                    found_inf=getattr(self, "found_inf", None),
                )  # fmt: skip


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give each group its share of the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]


def learning_rate_factor(schedule: Schedule, step: int, num_steps: int) -> float:
    """Share of the peak learning rate at `step` of `num_steps`, counted from 0.

    Warm-up reaches the peak at its last step; the decay reaches `final` when the last step is done.
    """
    if step < schedule.warmup:
        return (step + 1) / schedule.warmup
    if isinstance(schedule, Constant):
        return 1.0
    if isinstance(schedule, InverseSquareRoot):
        return math.sqrt(max(1, schedule.warmup) / (step + 1))
    progress = (step - schedule.warmup) / max(1, num_steps - schedule.warmup)
    shape = "cosine"
    if isinstance(schedule, WarmupStableDecay):
        if progress <= schedule.stable:
            return 1.0
        progress, shape = (progress - schedule.stable) / (1 - schedule.stable), schedule.decay
    elif isinstance(schedule, Linear):
        shape = "linear"
    return schedule.final + (1 - schedule.final) * _fall(shape, progress)


def _fall(shape: str, progress: float) -> float:
    """From 1 to 0 as progress goes from 0 to 1."""
    if shape == "linear":
        return 1 - progress
    if shape == "square_root":
        return 1 - math.sqrt(progress)
    return 0.5 * (1 + math.cos(math.pi * progress))


def state_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimizer's state, keyed by parameter name and then by the optimizer's own name for it."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{names[parameter]}/{key}": torch.as_tensor(value)
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
        if value is not None
    }


def load_state_tensors(
    optimizer: torch.optim.Optimizer, model: nn.Module, tensors: Mapping[str, Stored | Tensor]
) -> None:
    """Put back what `state_tensors` gave, whole or stored; of a parameter that is spread, its processes take their parts."""
    parameters = dict(model.named_parameters())
    for path, given in tensors.items():
        name, _, key = path.rpartition("/")
        parameter = parameters[name]
        if parameter.ndim and given.shape == parameter.shape:
            state = torch.zeros_like(parameter, dtype=given.dtype, requires_grad=False)
            fill(state, given)
        else:
            # All of it, the count of steps included, stands beside the parameter: the fused kernels want it there.
            whole = given.read() if isinstance(given, Stored) else given
            state = whole.to(parameter.device, copy=True)
        optimizer.state[parameter][key] = state
