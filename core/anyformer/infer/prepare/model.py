"""`prepare`: a loaded model of any family, made ready to answer on this machine.

* The result is a model like the one given: pipelines, solvers and heads use it as they use any. It has no gradients, and it
  cannot be saved, for its weights are packed for one machine.
* The model given stays as it is. What is not packed (tables, norms) is shared with it, and weights are packed one after
  another: together the two take at most twice the memory of one, and once the given one is let go, about what it took.
* In low precision the blocks of the trunk and a head's vocabulary are narrow. Norms and softmax compute in fp32, embeddings
  add up in fp32, and their layers and the others of a head stay in fp32: they decide the answer, and cost little.
* On the CPU the process keeps memory that is freed (`anyformer.memory`): fast products otherwise wait for new pages.
* On a GPU there is nothing to pack: products are joined, and half precision is that of the weights and of what they read.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any, Literal, get_args

import torch
from torch import nn

from anyformer import memory
from anyformer.hints import did_you_mean
from anyformer.infer.prepare import kernels
from anyformer.infer.prepare.convolution import ready_networks
from anyformer.infer.prepare.fuse import fuse
from anyformer.infer.prepare.linear import PackedLinear, Packer
from anyformer.infer.prepare.narrow import NarrowStack, NarrowTable
from anyformer.infer.prepare.probe import working
from anyformer.nn import Model
from anyformer.nn.embedding import TokenEmbedding
from anyformer.nn.layers import ACTIVATIONS
from anyformer.nn.trunk import Stack

Precision = Literal["fp32", "bf16", "int8", "fp16-weights"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
VOCABULARY = 4096
"""Outputs from which on a head's layer is narrow in low precision."""
SMALL = 64
"""Outputs below which a layer of a head or an embedding is left as it is: there is nothing to gain."""
_ON_CPU = {
    "fp32": (kernels.FP32, kernels.PLAIN),
    "bf16": (kernels.BF16, kernels.plain(torch.bfloat16)),
    "int8": (kernels.INT8, kernels.INT8_ONEDNN),
    "fp16-weights": (kernels.FP16_WEIGHTS, kernels.FP32, kernels.PLAIN),
}
_ON_GPU = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16-weights": torch.float16}


def prepare(model: Model, precision: Precision = "fp32", device: str | torch.device | None = None) -> Model:
    """A model that gives the same answers sooner; call it once, after loading.

    Args:
        model: as it was loaded, in fp32; adapters are merged. It stays as it is.
        precision: `fp32`: the same answers to 1e-5. `bf16`: weights and activations, relative error about 1e-2. `int8`:
            weights by output and activations by call, about 5e-2, on the CPU only; one scale serves all inputs of a call, so
            an answer then depends a little on who shares the pack. `fp16-weights`: arithmetic stays in fp32 on the CPU,
            about 5e-4; for decoding a few sequences at a time. On a GPU its activations are fp16 too.
        device: where it runs; None: where the model is.

    Raises `ValueError` for an unknown precision, one that the device does not have, a model that is not in fp32, or one
    that is prepared already. A kernel that does not work on this machine is left out with a warning.
    """
    if precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise ValueError(
            f"unknown precision {precision!r}{did_you_mean(str(precision), PRECISIONS)}; there are: {known}"
        )
    target = torch.device(device) if device is not None else next(model.parameters()).device
    if target.type != "cpu" and precision not in _ON_GPU:
        raise ValueError(f"{precision} runs on the CPU only; on {target} there are: {', '.join(_ON_GPU)}")
    _check(model)
    ready = _shell(model).to(target)
    with torch.inference_mode(False), torch.no_grad():
        _ready(ready, *_packers(precision, target))
    if target.type == "cpu":
        memory.keep_pages()
    ready.register_state_dict_pre_hook(_refuse)
    return ready.eval()


def _check(model: Model) -> None:
    if any(isinstance(module, PackedLinear) for module in model.modules()):
        raise ValueError("the model is prepared already; prepare the one that was loaded")
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and parameter.dtype != torch.float32:
            raise ValueError(
                f"the weight {name!r} is {parameter.dtype}; prepare() reads torch.float32: call model.float()"
            )


def _shell(model: Model) -> Model:
    """A model of new modules and the same numbers: nothing is copied but what stands around them."""
    kept: list[Any] = [*ACTIVATIONS.values(), *(model[id].task for id in model.components)]
    memo: dict[int, Any] = {id(each): each for each in kept}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=False)
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.detach()
    shell = copy.deepcopy(model, memo)
    for name, module in list(shell.named_modules()):
        if hasattr(module, "merged"):  # an adapter beside its layer
            shell.set_submodule(name, module.merged())
    return shell.eval()


def _packers(precision: str, device: torch.device) -> tuple[Packer, Packer]:
    """For the layers that may be narrow, and for those that stay wide."""
    if device.type != "cpu":
        return Packer([kernels.plain(_ON_GPU[precision])]), Packer([kernels.PLAIN])
    wide = working(_ON_CPU["fp32"]) or [kernels.PLAIN]
    found = working(_ON_CPU[precision])
    if precision == "int8" and kernels.INT8 not in found:
        found += working([kernels.INT8_NARROW])
    if precision == "fp16-weights" and kernels.FP16_WEIGHTS not in found:
        found = []
    if not found:
        warnings.warn(f"no kernel of {precision} works on this machine; the model answers in fp32", stacklevel=3)
        found = wide
    return Packer(found), Packer(wide)


def _ready(model: Model, narrow: Packer, wide: Packer) -> None:
    """Fuse and pack what the model has, in place."""
    dtype = narrow.kernels[0].dtype
    components = [model[id] for id in model.components]
    fuse(model.trunk, narrow, any(component.embedding.places_apart for component in components))
    for component in components:
        ready_networks(component.embedding, dtype)
        for part in (component.embedding, component.head):
            for name, module in list(part.named_modules()):
                if type(module) is nn.Linear and module.out_features >= SMALL:
                    is_vocabulary = part is component.head and module.out_features >= VOCABULARY
                    part.set_submodule(name, (narrow if is_vocabulary else wide)([module]))
    if dtype == torch.float32:
        return
    for name in ("encoder", "decoder"):
        stack = getattr(model.trunk, name)
        if isinstance(stack, Stack):
            is_last = name == "decoder" or model.trunk.decoder is None
            model.trunk.set_submodule(name, NarrowStack(stack, dtype, widens=is_last))
    _narrow_tables([component.embedding for component in components], dtype)


def _narrow_tables(embeddings: list[Any], dtype: torch.dtype) -> None:
    """Keep the tables of tokens in half precision; one that two streams share stays one."""
    made: dict[int, NarrowTable] = {}
    for embedding in embeddings:
        for module in list(embedding.modules()):
            if isinstance(module, TokenEmbedding) and isinstance(module.table, nn.Embedding):
                key = id(module.table.weight)
                made.setdefault(key, NarrowTable(module.table, dtype))
                module.table = made[key]  # type: ignore[assignment]


def _refuse(*_: Any) -> None:
    raise ValueError(
        "a prepared model cannot be saved: its weights are packed for this machine; save the model it was prepared from"
    )
