"""Which weights a run trains: adapters and the head alone, or all but those that patterns freeze.

* A pattern names a weight, or a module with all that is in it: `embedding`, `trunk.encoder.blocks.0`, `*.bias`. The parts
  of the only component are called `embedding` and `head`; of several, `<id>.embedding` and `<id>.head`.
* Frozen are weights. Dropout, and the running statistics of a batch norm, go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from anyformer.hints import did_you_mean, listed
from anyformer.nn import Model
from anyformer.train import lora
from anyformer.train.settings import Training


def choose_trainable(model: Model, components: Sequence[str], settings: Training) -> None:
    """Add adapters where asked for, and freeze what is not to be trained; a second call changes nothing.

    Raises `ValueError` for a target or a pattern that names nothing, and if nothing is left to train.
    """
    if settings.lora is not None:
        lora.adapt(model, components, settings.lora, settings.seed)
    _freeze(model, components, settings.freeze)
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ValueError("training.freeze leaves no weight to train; leave a pattern out")


def trained(model: nn.Module) -> str | None:
    """The share of weights that is trained, as a line for a person; None where it is all of them."""
    total = sum(weight.numel() for weight in model.parameters())
    moving = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return None if moving == total else f"trained: {moving:,} of {total:,} weights, {moving / total:.2%}"


def _freeze(model: Model, components: Sequence[str], patterns: Sequence[str]) -> None:
    own = f"components.{components[0]}." if len(components) == 1 else "components."
    named = {name.removeprefix(own): weight for name, weight in model.named_parameters()}
    for pattern in patterns:
        found = [name for name in named if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")]
        if not found:
            parts = sorted(
                {above for name in named for above in _above(name)}, key=lambda part: (part.count("."), part)
            )
            near = did_you_mean(pattern, [*parts, *named])
            raise ValueError(f"training.freeze: no weight matches {pattern!r}{near}; there are: {listed(parts)}")
        for name in found:
            named[name].requires_grad_(False)


def _above(name: str) -> list[str]:
    """The modules that a weight is in, the outermost first."""
    steps = name.split(".")
    return [".".join(steps[:end]) for end in range(1, len(steps))]
