"""A moving average of the weights, which often scores better than the weights themselves (Polyak and Juditsky 1992).

* The decay grows from a tenth to its full value, (1 + step) / (10 + step), so that the random start is soon forgotten.
* Weights and averages change places for an evaluation and change back after it: bit for bit, and without a third copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from anyformer.train.pieces import Stored, fill_all


class Average:
    """The average of the weights that are trained, by name."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.tensors: dict[str, Tensor] = {name: weight.detach().clone() for name, weight in self._weights.items()}

    @torch.no_grad()
    def update(self, step: int, moves: Tensor) -> None:
        """Take in the weights after the update of `step`, counted from 0, if it `moves` them (on the device)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        share = moves * (1 - decay)
        for name, average in self.tensors.items():
            average.lerp_(self._weights[name], share.to(average.dtype))

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Stored | Tensor]) -> None:
        """Go back to the tensors of a checkpoint; one before the first step has none, and the average starts anew."""
        if tensors:
            fill_all(self.tensors, tensors, "the average of the checkpoint")
        else:
            for name, average in self.tensors.items():
                average.copy_(self._weights[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it, the model has the averages as its weights."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    @torch.no_grad()
    def exchange(self) -> None:
        """Let the weights and their averages change places."""
        for name, average in self.tensors.items():
            weight = average.clone()
            average.copy_(self._weights[name])
            self._weights[name].copy_(weight)
