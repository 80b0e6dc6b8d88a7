"""The products of linear layers in training on a CPU, by oneDNN where it serves them.

Axis legend: T tokens, I inputs, O outputs.

* PyTorch gives fp32 products on x86 to MKL, which has no kernels for the widest registers of other makers' processors. There
  oneDNN is up to twice as fast, forward and backward.
* Its operator is private to PyTorch: it is used if it gives the right numbers when it is first asked, and only for plain
  fp32 tensors outside of autocast, in products that are large enough. All else is `F.linear`.
* The choice depends on shapes and on the machine, never on a clock: a run that is resumed takes the same kernels.
* Queries, keys and values of one tensor are one product, of weights that are joined anew each time: smaller products are
  slower, and the sum of their three gradients is a pass over memory of its own.
* Compiled code calls it as an operator of its own, `anyformer::product`: the compiler knows it for constant weights only.
"""

from __future__ import annotations

import platform
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from anyformer.nn.attention import Attention

LEAST = 2**23
"""Multiplications below which calling oneDNN costs more than it saves."""
LEAST_ROWS = 64


def speed_up(model: nn.Module) -> None:
    """Let the linear layers of a model compute by `linear`, if this machine's oneDNN serves."""
    if serves():
        for layer in _layers(model):
            vars(layer)["forward"] = partial(_forward, layer)
        for attention, crosses in _attentions(model):
            if attention.joined is None:
                vars(attention)["joined"] = partial(_projected, attention, crosses)


def restore(model: nn.Module) -> None:
    """Undo `speed_up`."""
    for layer in _layers(model):
        vars(layer).pop("forward", None)
    for attention, _ in _attentions(model):
        if isinstance(attention.joined, partial):
            vars(attention)["joined"] = None


def linear(
    x_TI: Float[Tensor, "*T I"], weight_OI: Float[Tensor, "O I"], bias_O: Float[Tensor, "O"] | None = None
) -> Float[Tensor, "*T O"]:
    """As `F.linear`, and equal to it up to rounding; only where `serves`."""
    if _pays(x_TI, weight_OI):
        return _Linear.apply(x_TI, weight_OI, bias_O)
    return F.linear(x_TI, weight_OI, bias_O)


@cache
def serves() -> bool:
    """Whether this machine's oneDNN can be called, and gives the right numbers."""
    if platform.machine().lower() not in ("x86_64", "amd64") or not torch.backends.mkldnn.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    x_TI, weight_OI, bias_O, grad_TO = (
        torch.randn(*shape, generator=generator) for shape in ((40, 24), (56, 24), (56,), (40, 56))
    )
    try:
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            found = [_product(x_TI, weight_OI, bias_O), *_gradients(grad_TO, x_TI, weight_OI)]
            right = [F.linear(x_TI, weight_OI, bias_O), grad_TO @ weight_OI, grad_TO.T @ x_TI]
        return all(bool(torch.allclose(one, other, atol=1e-4)) for one, other in zip(found, right, strict=True))
    except (AttributeError, RuntimeError, TypeError):
        return False


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_TI: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
        ctx.save_for_backward(x_TI, weight_OI)
        return _product(x_TI, weight_OI, bias_O)

    @staticmethod
    def backward(ctx: Any, grad_TO: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x_TI, weight_OI = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        of = _gradients(grad_TO.contiguous(), x_TI, weight_OI, of_x, of_weight)
        return of[0], of[1], grad_TO.flatten(0, -2).sum(0) if of_bias else None


def _product(x_TI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    if torch.compiler.is_compiling():
        return torch.ops.anyformer.product(x_TI, weight_OI, bias_O)
    return torch.ops.mkldnn._linear_pointwise(x_TI, weight_OI, bias_O, "none", [], "")


def _gradients(
    grad_TO: Tensor, x_TI: Tensor, weight_OI: Tensor, of_x: bool = True, of_weight: bool = True
) -> tuple[Tensor, Tensor]:
    """Gradients of input and weight, those that are asked for; the others are empty."""
    grad_x = _product(grad_TO, weight_OI.t()) if of_x else grad_TO.new_empty(0)
    if not of_weight:
        return grad_x, grad_TO.new_empty(0)
    grad_OT, x_IT = grad_TO.flatten(0, -2).t(), x_TI.flatten(0, -2).t()
    # oneDNN copies its first operand where it is transposed: let that be the smaller one.
    narrow = x_IT.shape[0] < grad_OT.shape[0]
    return grad_x, _product(x_IT, grad_OT).t() if narrow else _product(grad_OT, x_IT)


def _pays(x_TI: Tensor, weight_OI: Tensor) -> bool:
    if type(x_TI) is not Tensor or type(weight_OI) not in (Tensor, nn.Parameter) or x_TI.device.type != "cpu":
        return False
    rows = x_TI.numel() // max(1, x_TI.shape[-1])
    large = rows >= LEAST_ROWS and rows * weight_OI.numel() >= LEAST
    return large and x_TI.dtype == weight_OI.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


def _forward(layer: nn.Linear, x_TI: Tensor) -> Tensor:
    return linear(x_TI, layer.weight, layer.bias)


def _projected(attention: Attention, crosses: bool, x_TD: Tensor, position_TD: Tensor | None) -> list[Tensor]:
    """The projections of an attention, as its `joined` gives them: in one product where that pays."""
    layers: list[Any] = [attention.key, attention.value]
    if not crosses:
        layers = [attention.query, *layers]
    if position_TD is None and all(map(_is_plain, layers)) and _pays(x_TD, layers[0].weight):
        biased = [layer.bias is not None for layer in layers]
        if all(biased) or not any(biased):
            weight = torch.cat([layer.weight for layer in layers])
            bias = torch.cat([layer.bias for layer in layers]) if biased[0] else None
            return list(linear(x_TD, weight, bias).split([layer.out_features for layer in layers], -1))
    placed_TD = x_TD if position_TD is None else x_TD + position_TD
    return [*(layer(placed_TD) for layer in layers[:-1]), layers[-1](x_TD)]


def _is_plain(layer: nn.Module) -> bool:
    """Whether calling a layer is its product and nothing else: no adapter, no hook, nothing spread over processes."""
    hooked = layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
    return type(layer) is nn.Linear and type(layer.weight) in (Tensor, nn.Parameter) and not hooked


def _attentions(model: nn.Module) -> list[tuple[Attention, bool]]:
    """Those of a model, and whether each reads a memory."""
    across = {id(getattr(block, "cross", None)) for block in model.modules()}
    return [(part, id(part) in across) for part in model.modules() if isinstance(part, Attention)]


def _layers(model: nn.Module) -> list[nn.Linear]:
    return [layer for layer in model.modules() if type(layer) is nn.Linear]


def _shapes(x_TI: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
    return x_TI.new_empty(*x_TI.shape[:-1], weight_OI.shape[0])


_library = torch.library.Library("anyformer", "FRAGMENT")
_library.define("product(Tensor x, Tensor weight, Tensor? bias) -> Tensor")
_library.impl("product", _product, "CompositeExplicitAutograd")
torch.library.register_fake("anyformer::product", _shapes, lib=_library)
