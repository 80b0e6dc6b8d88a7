"""Adapters in the format of the peft library: `adapter_config.json` and `adapter_model.safetensors`.

* Keys are those of the home library's model where a layout says how its weights and ours correspond, else our own.
* Where one layer of theirs is several of ours (fused queries, keys and values), its adapter is theirs side by side: `down`
  one below the other, `up` in blocks, with a rank and an alpha of its own. On the way back, each of ours gets the whole
  `down` and its rows of `up`. The layer does the same in both libraries.
* Weights of the head are trained whole; peft calls them modules to save.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from anyformer import durable
from anyformer.hints import quoted
from anyformer.nn import Model
from anyformer.train import lora
from anyformer.train.lora import Adapter
from anyformer.train.settings import LoRA

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What peft puts before the home library's names."""
PLAIN = {
    "bias": "none",
    "use_dora": False,
    "lora_bias": False,
    "alora_invocation_tokens": None,
    "layer_replication": None,
}
"""Settings of peft with the only value that is read: others make another kind of adapter."""
Change = Callable[[Sequence[Tensor]], Sequence[Tensor]]


class Row(Protocol):
    """How weights of the home library and of our model correspond: a step of a family's table with our full names."""

    @property
    def theirs(self) -> tuple[str, ...]:
        """Keys of the home library."""

    @property
    def ours(self) -> tuple[str, ...]:
        """Names of our model's state."""

    @property
    def read(self) -> Change:
        """From theirs to ours."""

    @property
    def write(self) -> Change:
        """From ours to theirs."""


Layout = Sequence[Row]


@dataclass(frozen=True)
class _Same:
    theirs: tuple[str, ...]
    ours: tuple[str, ...]

    def read(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        return tensors

    write = read


@dataclass(frozen=True)
class Learned:
    """What a run with adapters learned."""

    adapters: dict[str, Adapter]
    """By the name of our layer."""
    whole: dict[str, Tensor]
    """Weights of the head, by our name."""
    sizes: dict[str, int]
    """Rows of each linear layer's weight, by the weight's name."""
    dropout: float = 0.0


def learned(model: Model, settings: LoRA) -> Learned:
    """The adapters of a model, and the other weights that were trained with them."""
    whole = {
        name: weight.detach() for name, weight in model.named_parameters()
        if weight.requires_grad and not name.endswith((".adapter_down", ".adapter_up"))
    }  # fmt: skip
    return Learned(lora.adapters(model), whole, _sizes(model), settings.dropout)


def write(folder: Path, found: Learned, layout: Layout | None = None) -> None:
    """Write an adapter's folder, whole or not at all. Raises `ValueError` for a weight that the layout has no place for."""
    rows = layout if layout is not None else _own_names(found.sizes, found.whole)
    left = {*(f"{name}.weight" for name in found.adapters), *found.whole}
    pieces: dict[str, Adapter] = {}
    tensors: dict[str, Tensor] = {}
    transposed = False
    for row in rows:
        module = row.theirs[0].removesuffix(".weight")
        if any(name.removesuffix(".weight") in found.adapters for name in row.ours if name.endswith(".weight")):
            pieces[module], turned = _theirs(row, found)
            transposed |= turned
            left.difference_update(row.ours)
        elif row.ours and all(name in found.whole for name in row.ours):
            for key, tensor in zip(row.theirs, row.write([found.whole[name] for name in row.ours]), strict=True):
                tensors[PREFIX + key] = tensor
            left.difference_update(row.ours)
    if left:
        raise ValueError(f"the layout has no place for the weight {min(left)!r} of the adapter")
    whole = sorted({key.removeprefix(PREFIX).rpartition(".")[0] for key in tensors})
    for module, adapter in pieces.items():
        tensors[f"{PREFIX}{module}.lora_A.weight"] = adapter.down
        tensors[f"{PREFIX}{module}.lora_B.weight"] = adapter.up
    rank, alpha = next((adapter.rank, _alpha(adapter)) for adapter in pieces.values())
    config = {
        "peft_type": "LORA", "task_type": None, "base_model_name_or_path": None, "inference_mode": True, "bias": "none",
        "r": rank, "lora_alpha": alpha, "lora_dropout": found.dropout, "target_modules": list(pieces),
        "rank_pattern": {name: one.rank for name, one in pieces.items() if one.rank != rank},
        "alpha_pattern": {name: _alpha(one) for name, one in pieces.items() if _alpha(one) != alpha},
        "fan_in_fan_out": transposed, "modules_to_save": whole or None,
    }  # fmt: skip
    with durable.whole(folder) as aside:
        (aside / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        durable.write_tensors({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, aside / WEIGHTS)


def read(folder: Path, model: Model, layout: Layout | None = None) -> None:
    """Put an adapter beside the layers of a model, ours or peft's, and its whole weights in place of the model's.

    Raises `ValueError` for a folder that is no adapter, a kind of adapter that is not read, and a weight that does not fit.
    """
    config, tensors = _opened(folder)
    sizes, state = _sizes(model), dict(model.named_parameters())
    rows = layout if layout is not None else _own_names(sizes, state)
    new: dict[str, Adapter] = {}
    whole: dict[str, Tensor] = {}
    used: set[str] = set()
    for row in rows:
        module = row.theirs[0].removesuffix(".weight")
        keys = [f"{PREFIX}{module}.lora_{half}.weight" for half in "AB"]
        if keys[0] in tensors and keys[1] in tensors:
            scale = _scale(config, module, tensors[keys[0]].shape[0])
            new |= _ours(row, Adapter(tensors[keys[0]], tensors[keys[1]], scale), sizes)
            used.update(keys)
        elif row.theirs and all(PREFIX + key in tensors for key in row.theirs):
            used.update(PREFIX + key for key in row.theirs)
            whole.update(zip(row.ours, row.read([tensors[PREFIX + key] for key in row.theirs]), strict=True))
    unknown = sorted(set(tensors) - used)
    if unknown:
        raise ValueError(f"{folder / WEIGHTS} has the weight {unknown[0]!r}, which the model does not know")
    wrong = [name for name, tensor in whole.items() if name not in state or tensor.shape != state[name].shape]
    if wrong:
        raise ValueError(f"{folder / WEIGHTS}: the weight for {wrong[0]!r} has another shape than the model's")
    lora.put(model, new, config.get("lora_dropout") or 0.0)
    with torch.no_grad():
        for name, tensor in whole.items():
            state[name].copy_(tensor)


def _sizes(model: nn.Module) -> dict[str, int]:
    """Rows of the weight of each linear layer, adapted or not, by the weight's name."""
    layers = (nn.Linear, lora.Adapted)
    return {f"{name}.weight": m.weight.shape[0] for name, m in model.named_modules() if isinstance(m, layers)}


def _own_names(sizes: Mapping[str, int], weights: Mapping[str, Tensor]) -> Layout:
    return [_Same((name,), (name,)) for name in dict.fromkeys([*sizes, *weights])]


def _alpha(adapter: Adapter) -> float:
    return adapter.scale * adapter.rank


def _theirs(row: Row, found: Learned) -> tuple[Adapter, bool]:
    """The adapter of one layer of theirs, and whether that keeps its weight as [in, out]."""
    own = [found.adapters.get(name.removesuffix(".weight")) for name in row.ours]
    present = [adapter for adapter in own if adapter is not None]
    rank, start = sum(adapter.rank for adapter in present), 0
    ups = []
    for name, adapter in zip(row.ours, own, strict=True):
        up = present[0].up.new_zeros(found.sizes[name], rank)
        if adapter is not None:
            up[:, start : start + adapter.rank] = adapter.up
            start += adapter.rank
        ups.append(up)
    turned = _turns(row, [found.sizes[name] for name in row.ours])
    (up,) = row.write(ups)
    down = torch.cat([adapter.down for adapter in present])
    return Adapter(down, up.t() if turned else up, present[0].scale), turned


def _ours(row: Row, adapter: Adapter, sizes: Mapping[str, int]) -> dict[str, Adapter]:
    """The adapters of our layers that one layer of theirs is."""
    turned = _turns(row, [sizes[name] for name in row.ours])
    ups = row.read([adapter.up.t() if turned else adapter.up])
    return {
        name.removesuffix(".weight"): Adapter(adapter.down, up.contiguous(), adapter.scale)
        for name, up in zip(row.ours, ups, strict=True)
    }


def _turns(row: Row, sizes: Sequence[int]) -> bool:
    """Whether the home library keeps the weight as [in, out]: seen by what happens to a shape that tells them apart."""
    width = sum(sizes) + 1
    (weight,) = row.write([torch.empty(size, width, device="meta") for size in sizes])
    return weight.shape[0] == width


def _opened(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(f"{folder} holds no adapter that can be read: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else config
        raise ValueError(f"{folder / CONFIG} is of the kind {quoted(kind)}; read is 'LORA'")
    for key, plain in PLAIN.items():
        if config.get(key, plain) not in (plain, None):
            raise ValueError(f"{folder / CONFIG}: {key!r} is {quoted(config[key])}; read is {plain!r}")
    return config, tensors


def _scale(config: Mapping[str, Any], module: str, rank: int) -> float:
    """alpha / rank, or alpha over its root; a layer may have an alpha of its own, by its name or the end of it."""
    alpha = config.get("lora_alpha")
    for name, own in (config.get("alpha_pattern") or {}).items():
        if not re.fullmatch(r"[\w.-]+", name):
            raise ValueError(f"the adapter's 'alpha_pattern' has {quoted(name)}; read are names of layers")
        if module == name or module.endswith(f".{name}"):
            alpha = own
            break
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise ValueError(f"the adapter's alpha for {module!r} is {quoted(alpha)}; it must be a number")
    return float(alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank)
