"""A model on the processes of a run: its layers split over some, its weights over others, copies on the rest.

* Layers are split first (`plan`), then weights are sharded (FSDP2): each block, each embedding and each head is gathered
  when it is used, and freed when it has been. A weight that two of them share goes to what holds both.
* Gradients are summed, never averaged: the loss is already divided by what all processes have seen.
* Weights without a gradient on one process count as zero where they have one on another, so that no process waits in vain.
* Buffers (statistics of batch norm) are not split; the engine gives all those of the first after each step.
* Processes that differ in nothing but their records hold plain weights: `gradients.sum_gradients` serves them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from functools import cache
from typing import Any

from torch import nn
from torch.utils._pytree import register_pytree_node

from anyformer.nn import Model
from anyformer.nn.pack import Stream
from anyformer.train.parallel.world import World
from anyformer.train.settings import Parallel


def place(model: Model, settings: Parallel, world: World) -> None:
    """Split a model as the settings say, in place; it must be the same on all processes, and have no optimizer yet.

    Raises `ValueError`, with nothing changed, if its layers cannot be split so.
    """
    if world.mesh is None:
        return
    if settings.tensor > 1:
        from anyformer.train.parallel.plan import split

        split(model.trunk, world.mesh["tensor"])
    if settings.shard > 1:
        _shard(model, world)


def units(model: Model) -> list[nn.Module]:
    """The modules that are gathered and freed as one, the innermost first; the model itself gathers what is left."""
    stacks = [stack for stack in (model.trunk.encoder, model.trunk.decoder) if stack is not None]
    found: list[nn.Module] = [block for stack in stacks for block in stack.blocks]
    for name in model.components:
        found += [model[name].embedding, model[name]]
    everywhere = _uses(model)
    # What shares a weight with its surroundings is left to them.
    return [unit for unit in found if (own := _uses(unit)) and all(everywhere[key] == own[key] for key in own)] + [
        model
    ]


def again(model: Model) -> None:
    """Make a sharded model ready for another pass after one that was broken off; gradients so far are lost."""
    reset = getattr(model, "reset_iter_state", None)
    if reset is not None:
        reset()


def _uses(module: nn.Module) -> Counter[int]:
    return Counter(id(weight) for _, weight in module.named_parameters(remove_duplicate=False))


def _shard(model: Model, world: World) -> None:
    from torch.distributed.fsdp import FSDPModule, fully_shard

    if not hasattr(FSDPModule, "set_reduce_scatter_unused_params"):
        _show_tensors()
    assert world.mesh is not None
    mesh = world.mesh["replicate", "shard"] if world.along("replicate")[1] > 1 else world.mesh["shard"]
    # A single number cannot be split; its gradient is summed with the plain ones.
    single = {weight for weight in model.parameters() if not weight.ndim}
    for unit in units(model):
        # The model's own rest is freed after a pass as well: a forward pass alone must not leave old weights behind.
        fully_shard(unit, mesh=mesh, reshard_after_forward=True, ignored_params=single)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
            if hasattr(module, "set_reduce_scatter_unused_params"):
                module.set_reduce_scatter_unused_params(True, recurse=False)


@cache
def _show_tensors() -> None:
    """Let FSDP2 find the tensors of a stream that goes into or out of a unit: before torch 2.15 it knew no dataclasses."""

    def flatten(stream: Stream) -> tuple[list[Any], None]:
        return [getattr(stream, each.name) for each in fields(Stream)], None

    register_pytree_node(Stream, flatten, lambda values, _: Stream(*values))
