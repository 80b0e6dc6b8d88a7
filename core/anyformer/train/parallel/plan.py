"""One plan for splitting every layer of the trunk over processes (Shoeybi et al. 2019, https://arxiv.org/abs/1909.08053).

* Heads and inner columns are split: queries, keys, values, up and gate by rows of their output, output and down by rows of
  their input. Each half block sums over the processes once on the way there and once on the way back.
* What flows between half blocks is whole on every process, and so are norms, embeddings and heads: they stay plain.
* A bias of the logits (ALiBi, T5) is built for all heads, and each process takes those of its own.
* Norms of queries and keys and the table of relative positions are whole but meet only a process's own heads: their
  gradients are summed.
* Dropout draws the same everywhere. That is needed where activations are whole; within a layer it means that the same
  pattern falls on the heads of each process.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.distributed._functional_collectives import all_reduce
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.distributed.tensor.parallel.style import ParallelStyle

from anyformer.nn.attention import Attention
from anyformer.nn.layers import FeedForward, RelativeBias
from anyformer.nn.trunk import Trunk

COLUMNS = {Attention: ("query", "key", "value"), FeedForward: ("up", "gate")}
ROWS = {Attention: ("output",), FeedForward: ("down",)}


def split(trunk: Trunk, mesh: DeviceMesh) -> None:
    """Split the layers of a trunk, the same on all processes, over a mesh of one axis.

    Raises `ValueError`, with nothing changed, if heads or inner widths do not divide, or layers have adapters.
    """
    check(trunk, mesh.size())
    plan: dict[str, ParallelStyle] = {}
    for name, module in list(trunk.named_modules()):
        if isinstance(module, Attention | FeedForward):
            kind = Attention if isinstance(module, Attention) else FeedForward
            plan |= {
                f"{name}.{layer}": ColwiseParallel() for layer in COLUMNS[kind] if getattr(module, layer) is not None
            }
            plan |= {f"{name}.{layer}": RowwiseParallel() for layer in ROWS[kind]}
            module.register_forward_pre_hook(partial(_share, mesh))
        if isinstance(module, Attention):
            num_heads = _heads(module.query, module) // mesh.size()
            module.heads = slice(mesh.get_local_rank() * num_heads, (mesh.get_local_rank() + 1) * num_heads)
            for norm in (module.query_norm, module.key_norm):
                norm.register_forward_pre_hook(partial(_sum_gradients, mesh))
        if isinstance(module, RelativeBias):
            module.table.register_forward_pre_hook(partial(_sum_gradients, mesh))
    # All processes have drawn or read the same weights: each takes its part of its own.
    parallelize_module(trunk, mesh, plan, src_data_rank=None)


def check(trunk: Trunk, num_parts: int) -> None:
    """Raise `ValueError` if the layers of a trunk cannot be split into so many parts."""
    asked = f"training.parallel.tensor={num_parts}"
    for name, module in trunk.named_modules():
        if not isinstance(module, Attention | FeedForward):
            continue
        if any(hasattr(layer, "adapter") for layer in module.children()):
            raise ValueError(f"{asked} cannot split layers with adapters (training.lora); use training.parallel.shard")
        if isinstance(module, Attention):
            sizes = {"heads": _heads(module.query, module), "key-value heads": _heads(module.key, module)}
        else:
            sizes = {"inner columns": module.up.out_features}
        for kind, size in sizes.items():
            if size % num_parts:
                raise ValueError(
                    f"{asked} must divide the {size} {kind} of trunk.{name}; choose a divisor, or "
                    "use training.parallel.shard"
                )


def _heads(layer: nn.Linear, attention: Attention) -> int:
    return layer.out_features // attention.head_width


def _share(mesh: DeviceMesh, module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a half block is given, marked as whole on every process: once, so that its gradient is summed only once."""
    return tuple(
        DTensor.from_local(value, mesh, [Replicate()], run_check=False) if isinstance(value, Tensor) else value
        for value in given
    )


def _sum_gradients(mesh: DeviceMesh, module: nn.Module, given: tuple[Any, ...]) -> None:
    """See to it that the gradients of a module's own weights are summed over the processes, backward pass by pass.

    Before each call, not once: sharding puts other parameters in the place of those that it found.
    """
    for weight in module.parameters(recurse=False):
        if weight.requires_grad and not hasattr(weight, "is_summed"):
            weight.register_hook(lambda grad: all_reduce(grad, "sum", mesh))
            weight.is_summed = True  # type: ignore[attr-defined]
