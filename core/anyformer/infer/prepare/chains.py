"""Chains of a convolution, a residual sum and a ReLU, as one oneDNN call on a packed weight.

Axis legend: N images, C channels, H height, W width.

* A convolution of a residual network is near the machine's limit; what it waits for is its weight, which is laid out anew in
  every call, and the passes over memory behind it. Both are spared here: of DETR's network a tenth of the time.
* Which operation follows which is read from a trace of the network's own code (`torch.fx`), not guessed from names. A sum is
  written over what is added, where nothing reads that later.
* oneDNN's operator is private to PyTorch: who calls `packed` compares the answers, and keeps the network if they differ.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, fx, nn

SIDE = 40
"""Height and width that a packed weight is laid out for; without a size, some layers get a layout ten times slower."""
_ADDS = (operator.add, operator.iadd, torch.add)
_RELUS = (F.relu, torch.relu)


class PackedConvolution(nn.Module):
    """A convolution that only answers, with the sum and the ReLU that follow it."""

    def __init__(self, convolution: nn.Conv2d, relu: bool) -> None:
        super().__init__()
        self.where = [
            [int(each) for each in pair] for pair in (convolution.padding, convolution.stride, convolution.dilation)
        ]
        self.groups = convolution.groups
        self.after = "relu" if relu else "none"
        # No parameter: the weight is packed for this machine, and stays where it is.
        self.packed = torch.ops.mkldnn._reorder_convolution_weight(
            convolution.weight, *self.where, self.groups, [1, convolution.in_channels, SIDE, SIDE]
        )
        self.bias = convolution.bias

    def forward(
        self, images_NCHW: Float[Tensor, "N C H W"], other_NCHW: Float[Tensor, "N D h w"] | None = None
    ) -> Float[Tensor, "N D h w"]:
        """Maps [N, C, H, W] to maps [N, D, h, w]; what is added to the result is written over."""
        where = (*self.where, self.groups)
        if other_NCHW is None:
            return torch.ops.mkldnn._convolution_pointwise(
                images_NCHW, self.packed, self.bias, *where, self.after, [], ""
            )
        after = None if self.after == "none" else self.after
        return torch.ops.mkldnn._convolution_pointwise_.binary(
            other_NCHW, images_NCHW, self.packed, self.bias, *where, "add", 1.0, after, [], None
        )


def packed(network: nn.Module) -> nn.Module:
    """A network that answers as the given one does, which stays as it is. Raises where its code cannot be traced."""
    traced = fx.symbolic_trace(network)
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        convolution: Any = modules.get(node.target) if node.op == "call_module" else None
        if convolution is None or not _is_plain(convolution):
            continue
        chain, other = _summed(node, modules)
        relu = _only_user(chain[-1])
        relus = [relu] if relu is not None and _is_relu(relu, modules) else []
        chain += relus
        name = f"{node.name}_packed"
        modules[name] = PackedConvolution(convolution, bool(relus))
        traced.add_submodule(name, modules[name])
        with traced.graph.inserting_before(chain[-1]):
            call = traced.graph.call_module(name, (node.args[0],) if other is None else (node.args[0], other))
        chain[-1].replace_all_uses_with(call)
        for each in reversed(chain):
            traced.graph.erase_node(each)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def _summed(node: fx.Node, modules: dict[str, nn.Module]) -> tuple[list[fx.Node], fx.Node | None]:
    """A convolution with the identities and the sum behind it, one after another, and what the sum adds."""
    chain = [node]
    user = _only_user(node)
    while user is not None and user.op == "call_module" and type(modules.get(str(user.target))) is nn.Identity:
        chain.append(user)
        user = _only_user(user)
    if user is None or user.op != "call_function" or user.target not in _ADDS or len(user.args) != 2 or user.kwargs:
        return chain, None
    others = [each for each in user.args if isinstance(each, fx.Node) and each is not chain[-1]]
    if len(others) != 1:
        return chain, None
    # A sum over what the convolution itself reads would change it on the way.
    made = _origin(others[0], modules)
    spare = made is not _origin(node.args[0], modules) and _is_spare(made, user, modules)
    return ([*chain, user], others[0]) if spare else (chain, None)


def _origin(node: Any, modules: dict[str, nn.Module]) -> Any:
    """Where a value comes from, before identities."""
    while node.op == "call_module" and type(modules.get(str(node.target))) is nn.Identity:
        node = node.args[0]
    return node


def _is_spare(node: fx.Node, reader: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether a value is what a convolution made, and nothing reads it after `reader`, not by another name either."""
    made = modules.get(str(node.target)) if node.op == "call_module" else None
    if type(made) not in (nn.Conv2d, PackedConvolution):
        return False
    readers = [
        each for each in reader.graph.nodes if any(_origin(read, modules) is node for read in each.all_input_nodes)
    ]
    return not any(reader < each for each in readers)


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _is_relu(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return type(modules.get(str(node.target))) is nn.ReLU
    return node.op == "call_function" and node.target in _RELUS


def _is_plain(convolution: Any) -> bool:
    if type(convolution) is not nn.Conv2d or convolution._forward_hooks or convolution._forward_pre_hooks:
        return False
    return convolution.padding_mode == "zeros" and not isinstance(convolution.padding, str)
