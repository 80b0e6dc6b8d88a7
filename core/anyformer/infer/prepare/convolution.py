"""Convolutional networks of an embedding: batch norms folded into the convolutions before them, channels innermost, and on
the CPU each convolution one call with the sum and the ReLU behind it (`anyformer.infer.prepare.chains`).

Axis legend: N images, C channels, H height, W width.

* A batch norm that does not learn is an affine map of each channel, and an affine map after a convolution is a convolution.
* Which norm follows which convolution is seen in a trial run, not guessed from names, and another trial run shows that the
  folded network answers the same; else it stays as it was, with a word. So it is for the chains.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from anyformer.infer.prepare import chains

SIDE = 64
"""Height and width of the images of a trial."""
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 2e-2}
"""Relative difference at most of a changed network's answer."""
_NORM = ("weight", "bias", "running_mean", "running_var")


def ready_networks(root: nn.Module, dtype: torch.dtype) -> None:
    """Ready the convolutional networks below `root` for answers in `dtype`, in place; what they read and give is fp32."""
    for name, network in list(_networks(root)):
        with torch.no_grad():
            _fold(network)
            network.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
            ready = _chained(network)
        root.set_submodule(name, ready)
        _narrow(ready, dtype)


def _networks(module: nn.Module, above: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The largest modules below that have convolutions, and no weights but theirs and those of norms like batch norms."""
    for name, child in module.named_children():
        parts = list(child.modules())
        owners = [part for part in parts if part._parameters or part._buffers]
        if any(isinstance(part, nn.Conv2d) for part in parts) and all(
            isinstance(part, nn.Conv2d) or _is_norm(part) for part in owners
        ):
            yield above + name, child
        else:
            yield from _networks(child, f"{above}{name}.")


def _is_norm(module: nn.Module) -> bool:
    """A batch norm, frozen or not, whoever wrote it: told by its parts, and by the trial."""
    return "BatchNorm" in type(module).__name__ and all(
        getattr(module, name, None) is not None and getattr(module, name).ndim == 1 for name in _NORM
    )


def _chained(network: nn.Module) -> nn.Module:
    """The network with its convolutions packed, where that is possible and changes nothing."""
    images_NCHW = _images(network).contiguous(memory_format=torch.channels_last)
    if images_NCHW.device.type != "cpu":
        return network
    try:
        ready = chains.packed(network)
        error = _difference(ready(images_NCHW), network(images_NCHW))
        if error <= TOLERANCE[images_NCHW.dtype]:
            return ready
        wrong = f"its answer changed by {error:.1e}"
    except Exception as error:  # its code cannot be traced, or the operator is missing: it answers as it did
        wrong = next(iter(str(error).splitlines()), "") or type(error).__name__
    warnings.warn(f"convolutions of a network are not packed: {wrong}", stacklevel=2)
    return network


def _images(network: nn.Module) -> Tensor:
    """Images of a trial."""
    first = next(part for part in network.modules() if isinstance(part, nn.Conv2d))
    generator = torch.Generator().manual_seed(0)
    images_NCHW = torch.randn(1, first.in_channels, SIDE, SIDE, generator=generator)
    return images_NCHW.to(first.weight.device, first.weight.dtype)


def _fold(network: nn.Module) -> None:
    """Fold each batch norm that reads what a convolution gave into that convolution."""
    images_NCHW = _images(network)
    convolutions = {name: part for name, part in network.named_modules() if isinstance(part, nn.Conv2d)}
    kept = {name: (part.weight, part.bias) for name, part in convolutions.items()}
    norms: dict[str, nn.Module] = {}
    try:
        pairs, true = _watched(network, images_NCHW)
        for conv_name, norm_name in pairs.items():
            norms[norm_name] = network.get_submodule(norm_name)
            _absorb(convolutions[conv_name], norms[norm_name])
            network.set_submodule(norm_name, nn.Identity())
        error = _difference(network(images_NCHW), true)
        wrong = None if error <= TOLERANCE[images_NCHW.dtype] else f"its answer changed by {error:.1e}"
    except Exception as error:  # a network may want other images than these; it then stays as it was
        wrong = next(iter(str(error).splitlines()), "") or type(error).__name__
    if wrong is not None:
        for name, norm in norms.items():
            network.set_submodule(name, norm)
        for name, (weight, bias) in kept.items():
            convolutions[name].weight, convolutions[name].bias = weight, bias
        warnings.warn(f"batch norms of a convolutional network are not folded: {wrong}", stacklevel=2)


def _watched(network: nn.Module, images_NCHW: Tensor) -> tuple[dict[str, str], Any]:
    """The norm behind each convolution, by their names, where it alone reads it; and the network's answer."""
    made: dict[int, tuple[str, Tensor]] = {}
    readers: dict[str, list[str]] = {}

    def note(name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        for tensor in inputs:
            if id(tensor) in made:
                readers.setdefault(made[id(tensor)][0], []).append(name)
        if isinstance(module, nn.Conv2d):
            made[id(output)] = (name, output)  # kept, so that no other tensor gets its id

    hooks = [
        part.register_forward_hook(lambda module, inputs, output, name=name: note(name, module, inputs, output))
        for name, part in network.named_modules()
        if not list(part.children())
    ]
    try:
        answer = network(images_NCHW)
    finally:
        for hook in hooks:
            hook.remove()
    runs = [name for name, _ in made.values()]
    pairs = {
        conv: names[0]
        for conv, names in readers.items()
        if len(names) == 1 and runs.count(conv) == 1 and _is_norm(network.get_submodule(names[0]))
    }
    return {conv: norm for conv, norm in pairs.items() if list(pairs.values()).count(norm) == 1}, answer


def _absorb(convolution: nn.Conv2d, norm: Any) -> None:
    scale_C = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    before_C = 0.0 if convolution.bias is None else convolution.bias.double()
    weight, dtype = convolution.weight.double(), convolution.weight.dtype
    bias_C = norm.bias.double() + (before_C - norm.running_mean.double()) * scale_C
    convolution.weight = nn.Parameter((weight * scale_C[:, None, None, None]).to(dtype), requires_grad=False)
    convolution.bias = nn.Parameter(bias_C.to(dtype), requires_grad=False)


def _narrow(network: nn.Module, dtype: torch.dtype) -> None:
    """The network computes in `dtype`, and gives fp32."""

    def enter(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            each.to(dtype=dtype, memory_format=torch.channels_last) if _is_map(each) else each for each in inputs
        )

    def leave(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, list | tuple):
            return type(output)(each.float() if _is_map(each) else each for each in output)
        return output.float() if _is_map(output) else output

    network.register_forward_pre_hook(enter)
    network.register_forward_hook(leave)


def _is_map(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4


def _difference(found: Any, true: Any) -> float:
    """The greatest relative difference of the tensors of two answers."""
    if isinstance(true, Tensor):
        return float((found - true).abs().max() / true.abs().max())
    return max(_difference(one, other) for one, other in zip(found, true, strict=True))
