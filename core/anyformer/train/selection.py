"""The best weights so far by a score on the held-out part, and when to stop for want of better ones.

* A score is better only if it is strictly better; one that is not defined never is.
* The state is part of every checkpoint, the best weights included, so a resumed run chooses as the undisturbed one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from anyformer.artifact import Bound, unique_tensors
from anyformer.hints import did_you_mean
from anyformer.nn import Model
from anyformer.task import Task
from anyformer.train.pieces import Stored, fill_all
from anyformer.train.settings import Selection


def directions(bound: Bound) -> dict[str, bool]:
    """Whether higher is better, for each score that evaluations on the way have, the deciding one first."""
    if not isinstance(bound, Task):
        return {"loss": False}
    return {name: metric.higher_is_better for metric in bound.metrics() for name in metric.names}


def all_directions(model: Model, components: Sequence[str]) -> dict[str, bool]:
    """The same for what learns together: with several components a score is called `<id>/<metric>`."""
    found = {id: directions(model[id].task) for id in components}
    if len(found) == 1:
        return found[components[0]]
    return {f"{id}/{name}": higher for id, known in found.items() for name, higher in known.items()}


class Best:
    """The best weights so far, by one of the scores `known`: whether higher is better, by name, the deciding one first.

    Raises `ValueError` for a score that is not among them.
    """

    def __init__(self, settings: Selection, known: Mapping[str, bool]) -> None:
        name = settings.metric if settings.metric is not None else next(iter(known))
        if name not in known:
            raise ValueError(
                f"training.selection.metric is {name!r}{did_you_mean(name, known)}; the scores are: {', '.join(known)}"
            )
        self.settings, self.metric, self.higher = settings, name, known[name]
        self.score: float | None = None
        self.step = 0
        self.num_worse = 0
        """Evaluations in a row that were not better."""
        self.tensors: dict[str, Tensor] = {}
        """The weights of the best score, where they are to be kept."""

    def judge(self, model: nn.Module, step: int, scores: Mapping[str, float]) -> None:
        """Take in an evaluation of the model's present weights."""
        score = float(scores[self.metric])
        if not self._better(score):
            self.num_worse += 1
            return
        self.score, self.step, self.num_worse = score, step, 0
        if self.settings.keep == "best":
            self.tensors = {name: _room(tensor).copy_(tensor) for name, tensor in _moving(model).items()}

    def _better(self, score: float) -> bool:
        if math.isnan(score) or self.score is None:
            return not math.isnan(score)
        return score > self.score if self.higher else score < self.score

    @property
    def exhausted(self) -> bool:
        """Whether the run should stop."""
        return self.settings.patience is not None and self.num_worse >= self.settings.patience

    @property
    def said(self) -> str:
        """Why the run stopped, in a clause."""
        since = f"better than {self.score:.4f}, of step {self.step}," if self.score is not None else "defined"
        return f"{self.metric} has not been {since} in {self.num_worse} evaluations"

    def put(self, model: nn.Module) -> None:
        """Give the model its best weights, if it has been evaluated and they were kept."""
        own = unique_tensors(model)
        with torch.no_grad():
            for name, tensor in self.tensors.items():
                own[name].copy_(tensor)

    def scalars(self) -> dict[str, Any]:
        """What a checkpoint holds of it beside the tensors."""
        return {"score": self.score, "step": self.step, "num_worse": self.num_worse}

    def restore(self, scalars: Mapping[str, Any], tensors: Mapping[str, Stored | Tensor], model: nn.Module) -> None:
        """Go back to a checkpoint."""
        self.score, self.step, self.num_worse = (scalars[name] for name in ("score", "step", "num_worse"))
        own = unique_tensors(model)
        self.tensors = {name: _room(own[name]) for name in tensors}
        fill_all(self.tensors, tensors, "the best weights of the checkpoint")


def _room(tensor: Tensor) -> Tensor:
    """Room for a copy: on the CPU, but for a tensor that is spread over processes, which stays where it is."""
    return torch.empty_like(tensor, device=None if isinstance(tensor, DTensor) else "cpu", requires_grad=False)


def _moving(model: nn.Module) -> dict[str, Tensor]:
    """What training changes: weights that are not frozen, and buffers."""
    still = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    return {name: tensor for name, tensor in unique_tensors(model).items() if name not in still}
