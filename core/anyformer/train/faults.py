"""What goes wrong in a step, and how a run stands it.

| fault                             | what is done                                                                 |
|-----------------------------------|------------------------------------------------------------------------------|
| a step does not fit in memory     | done again from its beginning, in micro-packs of half the size; a warning    |
| a sample alone does not fit       | the run stops, and names its record                                          |
| a loss, a gradient is not finite  | the update is left out; a warning names the records; too many in a row: stop |
| a weight, a state is not finite   | it is not saved                                                              |

* The loss of a step is a sum over its micro-packs, so smaller ones give the same gradient; only dropout is drawn anew.
* The smaller budget is kept to the end of the process. A resumed run begins with the one that was asked for: the device may
  be another, and if it is too large again, it is halved again.
* The records of an update that is left out are tried one by one, so that the guilty one is named and not its neighbours.
* Buffers, such as the statistics of a batch norm, are put back before a step is done again and after one that is left out.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from anyformer.data.packs import collate, cut
from anyformer.task import Sample
from anyformer.train.drawing import Drawn
from anyformer.train.where import where

if TYPE_CHECKING:
    from anyformer.train.engine import Engine

_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "bad_alloc")
"""What libraries say that have no error of their own for it."""


def out_of_memory(error: BaseException) -> bool:
    """Whether this says that memory ran out, of the device or of the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)


def gradient_that_fits(engine: Engine, drawn: Drawn) -> Tensor:
    """The gradient of a step, as `Engine.gradient`; if memory runs out, from the beginning in micro-packs of half the size.

    Raises `ValueError` if not even one sample fits.
    """
    while True:
        try:
            return engine.gradient(drawn.samples)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        # Here the error is gone, and with it all that its frames held.
        engine.optimizer.zero_grad(set_to_none=True)
        engine.buffers.put_back()
        _release(engine.device)
        tokens = _smaller(drawn.samples, engine.budget)
        if tokens is None:
            owner, sample = max(zip(drawn.owners, drawn.samples, strict=True), key=lambda pair: pair[1].cost)
            raise ValueError(
                f"out of memory at step {engine.step}: {where(engine.records, owner)} does not fit even alone, with "
                f"{sample.cost:,} tokens; shorten it, or take a smaller trunk"
            )
        engine.tokens = tokens
        engine.warn(
            f"out of memory at step {engine.step}, which is done again in micro-packs of {tokens:,} tokens, as are all "
            "after it; training.tokens can ask for that"
        )


def _release(device: torch.device) -> None:
    """Give back what a failed attempt held."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _smaller(samples: Sequence[Sample], tokens: int) -> int | None:
    """A budget that cuts the largest micro-pack in two; None if each holds one sample already."""
    cost = max((sum(sample.cost for sample in group) for group in cut(samples, tokens) if len(group) > 1), default=0)
    return cost // 2 if cost > 1 else None


@contextmanager
def in_memory(what: str) -> Iterator[None]:
    """An error about memory that smaller micro-packs do not mend, in one line: `what` did not fit."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise ValueError(
            f"out of memory: {what} does not fit; take a smaller trunk, training.lora, "
            "training.optimizer.name=sgd, or a device with more memory"
        ) from None


def skip(engine: Engine, drawn: Drawn, loss: Tensor) -> None:
    """Count an update that is left out, for a loss or a gradient that is not finite, and say which records it was.

    Raises `ValueError` when there were as many in a row as the settings have patience for.
    """
    engine.progress.skip()
    often = engine.progress.skipped_in_a_row
    stops = often >= engine.settings.patience
    # With fp16, a gradient that overflows under a finite loss is how the scale is found, and nobody's fault.
    if not stops and (often > 1 or (engine.scaler.is_enabled() and bool(torch.isfinite(loss)))):
        return
    found = _guilty(engine, drawn)
    some = f"{found[:8]}{' and more' if len(found) > 8 else ''}"
    said = (
        f"records {some} of the training part, counted from 0; the first of them is {where(engine.records, found[0])}"
    )
    if stops:
        raise ValueError(
            f"the gradient was not finite in {often} updates in a row; stopped at step {engine.step}, {said}; "
            "lower training.optimizer.lr, or look at these records"
        )
    engine.warn(
        f"the gradient was not finite at step {engine.step}; the update is left out and counted as skipped; {said}"
    )


@torch.no_grad()
def _guilty(engine: Engine, drawn: Drawn) -> list[int]:
    """Of a step's records, by index, those whose loss alone is not finite; all of them if there is none."""
    head = engine.model[engine.component].head
    found = []
    engine.model.eval()  # a single sample has no statistics of a batch
    for sample, owner in zip(drawn.samples, drawn.owners, strict=True):
        parts, targets = collate([sample], engine.device)
        if not bool(torch.isfinite(engine.loss(parts, targets, head.weigh(targets)))):
            found.append(owner)
    engine.model.train()
    engine.buffers.put_back()  # some layers keep statistics in any mode
    return list(dict.fromkeys(found or drawn.owners))


class Buffers:
    """The buffers of a model as they were before a step."""

    def __init__(self, model: nn.Module) -> None:
        self._now = list(model.buffers())
        self._before: list[Tensor] = []

    def keep(self) -> None:
        """Remember them."""
        self._before = [buffer.clone() for buffer in self._now]

    def put_back(self) -> None:
        """Make them what they were."""
        for now, before in zip(self._now, self._before, strict=True):
            now.copy_(before)


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of a tensor that holds an infinite number or none, if there is one."""
    with torch.no_grad():
        floating = ((name, tensor) for name, tensor in tensors.items() if tensor.is_floating_point())
        return next((name for name, tensor in floating if not bool(torch.isfinite(tensor).all())), None)
