"""Activation checkpointing: a block keeps what went into it, and is computed again when its gradient is needed (Chen et al.
2016, https://arxiv.org/abs/1604.06174).

* The second pass draws the same dropout as the first, so the gradient is that of a run without checkpointing.
* A pass whose attention maps are watched is left alone: they would be seen twice.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def checkpoint_blocks(trunk: nn.Module) -> None:
    """Let each block of a trunk forget its activations."""
    for block in _blocks(trunk):
        block.forward = partial(_again, block.forward)


def restore_blocks(trunk: nn.Module) -> None:
    """Undo `checkpoint_blocks`."""
    for block in _blocks(trunk):
        vars(block).pop("forward", None)


def _blocks(trunk: nn.Module) -> list[nn.Module]:
    stacks = [stack for stack in trunk.children() if hasattr(stack, "blocks")]
    return [block for stack in stacks for block in stack.blocks]  # type: ignore[union-attr]


def _again(forward: Any, stream: Any, place: Any, memory: Any, cache: Any, block: int, watch: Any) -> Any:
    given = (stream, place, memory, cache, block, watch)
    if watch is not None or not torch.is_grad_enabled():
        return forward(*given)
    return checkpoint(forward, *given, use_reentrant=False)
