"""Low-rank adapters (Hu et al. 2021, https://arxiv.org/abs/2106.09685): a frozen linear layer plus a product of two thin
matrices.

* The layer's own weights keep their names, so a checkpoint of an adapted model reads like that of a plain one.
* An adapter starts as zero: an adapted model answers as the model it began with.
* Merged, the model is a plain one again, and nothing that reads it needs to know of adapters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from anyformer.hints import did_you_mean
from anyformer.nn import Model
from anyformer.train.settings import LoRA


@dataclass(frozen=True)
class Adapter:
    """What is added to a layer's weight [out, in]: `scale` times `up` [out, R] times `down` [R, in]."""

    down: Tensor
    up: Tensor
    scale: float

    @property
    def rank(self) -> int:
        """R."""
        return self.down.shape[0]


class Adapted(nn.Module):
    """A linear layer with an adapter beside it. Axes: R rank, `in` and `out` the layer's widths."""

    def __init__(self, layer: nn.Linear, adapter: Adapter, dropout: float = 0.0) -> None:
        super().__init__()
        self.weight = layer.weight
        self.bias = layer.bias
        self.adapter_down = nn.Parameter(adapter.down.to(self.weight))
        self.adapter_up = nn.Parameter(adapter.up.to(self.weight))
        self.scale = adapter.scale
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*shape wide"]) -> Float[Tensor, "*shape out"]:
        """[..., in] to [..., out]."""
        added = F.linear(F.linear(self.dropout(x), self.adapter_down), self.adapter_up)
        return F.linear(x, self.weight, self.bias) + added * self.scale

    @property
    def adapter(self) -> Adapter:
        """The adapter, as it stands."""
        return Adapter(self.adapter_down.detach(), self.adapter_up.detach(), self.scale)

    def merged(self) -> nn.Linear:
        """A plain layer that does the same; the product is rounded once."""
        layer = nn.Linear(self.weight.shape[1], self.weight.shape[0], bias=self.bias is not None, device="meta")
        added = self.scale * (self.adapter_up.detach().double() @ self.adapter_down.detach().double())
        layer.weight = nn.Parameter((self.weight.detach().double() + added).to(self.weight.dtype))
        if self.bias is not None:
            layer.bias = nn.Parameter(self.bias.detach())
        return layer


def adapt(model: Model, components: Sequence[str], settings: LoRA, seed: int) -> None:
    """Put an adapter beside each target of the trunk, and freeze all but the adapters and the components' heads.

    A head that shares a weight with the embedding leaves that one frozen. A model with adapters is left as it is.
    Raises `ValueError` for a target that no linear layer of the trunk is called.
    """
    if not adapters(model):
        generator = torch.Generator().manual_seed(seed)
        new = {}
        for name in _targets(model, settings.targets):
            layer = model.get_submodule(name)
            assert isinstance(layer, nn.Linear)
            bound = 1 / math.sqrt(layer.in_features)
            down = torch.empty(settings.rank, layer.in_features).uniform_(-bound, bound, generator=generator)
            new[name] = Adapter(down, torch.zeros(layer.out_features, settings.rank), settings.alpha / settings.rank)
        put(model, new, settings.dropout)
    model.requires_grad_(False)
    for component in components:
        below = {id(weight) for weight in [*model.trunk.parameters(), *model[component].embedding.parameters()]}
        for weight in model[component].head.parameters():
            weight.requires_grad_(id(weight) not in below)
    for _, layer in _adapted(model):
        layer.adapter_down.requires_grad_(True)
        layer.adapter_up.requires_grad_(True)


def put(model: Model, new: Mapping[str, Adapter], dropout: float = 0.0) -> None:
    """Put adapters beside the linear layers that `new` names.

    Raises `ValueError` for a name that is no linear layer of the model, or an adapter of another shape.
    """
    layers = {name: module for name, module in model.named_modules() if type(module) is nn.Linear}
    for name, adapter in new.items():
        if name not in layers:
            raise ValueError(f"the model has no linear layer {name!r}{did_you_mean(name, layers)}")
        shape = [adapter.up.shape[0], adapter.down.shape[1]]
        if shape != list(layers[name].weight.shape) or adapter.up.shape[1] != adapter.rank:
            raise ValueError(
                f"the adapter of {name!r} is made for a weight of shape {shape}; the model's has "
                f"{list(layers[name].weight.shape)}"
            )
        model.set_submodule(name, Adapted(layers[name], adapter, dropout))


def adapters(model: nn.Module) -> dict[str, Adapter]:
    """The adapters of a model by the name of their layer."""
    return {name: layer.adapter for name, layer in _adapted(model)}


def merge(model: nn.Module) -> None:
    """Make an adapted model a plain one that answers the same, all of its weights ready to be trained."""
    for name, layer in list(_adapted(model)):
        model.set_submodule(name, layer.merged())
    model.requires_grad_(True)


def _adapted(model: nn.Module) -> Iterator[tuple[str, Adapted]]:
    return ((name, module) for name, module in model.named_modules() if isinstance(module, Adapted))


def _targets(model: Model, asked: Sequence[str]) -> list[str]:
    linear = [f"trunk.{name}" for name, module in model.trunk.named_modules() if type(module) is nn.Linear]
    for target in asked:
        if not any(name.endswith(f".{target}") for name in linear):
            ends = list(dict.fromkeys(name.rpartition(".")[2] for name in linear))
            near = did_you_mean(target, ends)
            raise ValueError(
                f"training.lora.targets: no linear layer of the trunk is called {target!r}{near}; there are: "
                f"{', '.join(ends)}"
            )
    return [name for name in linear if any(name.endswith(f".{target}") for target in asked)]
