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
* On a GPU this is noticed when a line of the log is due, since no step waits for the device: a run may stop some steps late.
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
from anyformer.train import gradient
from anyformer.train.counts import Outcome
from anyformer.train.drawing import Drawn
from anyformer.train.where import where

if TYPE_CHECKING:
    from anyformer.train.engine import Engine
    from anyformer.train.parallel.world import World

_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "bad_alloc")
"""What libraries say that have no error of their own for it."""


def out_of_memory(error: BaseException) -> bool:
    """Whether this says that memory ran out, of the device or of the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)


def gradient_that_fits(engine: Engine, drawn: Sequence[Drawn]) -> gradient.Loss:
    """Add the gradient of a step to the parameters; if memory runs out on a rank, all begin again in smaller micro-packs.

    Raises `ValueError` if not even one sample fits, or where weights are split over ranks: then the others are in the midst
    of an exchange.
    """
    totals = gradient.denominators(engine, drawn)
    while True:
        found: Tensor | None = None
        try:
            found = gradient.add_gradient(engine, drawn, totals)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        # Here the error is gone, and with it all that its frames held.
        if engine.sharded and found is None:
            raise ValueError(
                f"out of memory at step {engine.step}, and where weights are split over processes a step cannot be done "
                f"again; go on with a smaller training.tokens than {engine.budget:,}"
            )
        if engine.sharded or not engine.world.most([found is None])[0]:
            assert found is not None
            return gradient.over_ranks(engine, found, totals)
        engine.optimizer.zero_grad(set_to_none=True)
        engine.buffers.put_back()
        _release(engine.device)
        engine.tokens = _smaller_budget(engine, drawn)
        engine.warn(
            f"out of memory at step {engine.step}, which is done again in micro-packs of {engine.tokens:,} tokens, as are "
            "all after it; training.tokens can ask for that"
        )


def _smaller_budget(engine: Engine, drawn: Sequence[Drawn]) -> int:
    """Half of the largest micro-pack on any rank. Raises `ValueError` if each holds one sample already."""
    (cost,) = engine.world.most([max(_largest(each.samples, engine.budget) for each in drawn)])
    if cost > 1:
        return cost // 2
    pairs = zip(engine.sources, drawn, strict=True)
    own = [
        (sample.cost, where(source.records, owner))
        for source, each in pairs
        for sample, owner in zip(each.samples, each.owners, strict=True)
    ]
    longest, said = max(engine.world.collect(max(own, default=(0, ""))))
    raise ValueError(
        f"out of memory at step {engine.step}: {said} does not fit even alone, with {longest:,} tokens; shorten it, or "
        "take a smaller trunk"
    )


def _largest(samples: Sequence[Sample], tokens: int) -> int:
    """Tokens of the largest micro-pack that can be cut further; 0 if there is none."""
    return max((sum(sample.cost for sample in group) for group in cut(samples, tokens) if len(group) > 1), default=0)


def _release(device: torch.device) -> None:
    """Give back what a failed attempt held."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


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


def skip(engine: Engine, outcome: Outcome) -> None:
    """Say which records made an update be left out, for a loss or a gradient that is not finite.

    Raises `ValueError` when there were as many in a row as the settings have patience for.
    """
    often = engine.progress.skipped_in_a_row
    stops = often >= engine.settings.patience
    # With fp16, a gradient that overflows under a finite loss is how the scale is found, and nobody's fault.
    if not stops and (often > 1 or (engine.scaler.enabled and outcome.finite)):
        return
    tried = [one for rank in engine.world.collect(_guilty(engine, outcome.step)) for one in rank]
    found = [said for said, is_guilty in tried if is_guilty] or [said for said, _ in tried]
    said = f"{', '.join(found[:8])}{' and more' if len(found) > 8 else ''}"
    if stops:
        raise ValueError(
            f"the gradient was not finite in {often} updates in a row; stopped at step {outcome.step}, at {said}; "
            "lower training.optimizer.lr, or look at these records"
        )
    engine.warn(
        f"step {outcome.step} was left out, for a gradient that is not finite, at {said}; the run stops after "
        f"{engine.settings.patience} in a row"
    )


@torch.no_grad()
def _guilty(engine: Engine, step: int) -> list[tuple[str, bool]]:
    """This rank's records of a step, and whether the loss of each alone is not finite: each is tried with today's weights.

    Where weights are split over ranks no record is tried, since all ranks would have to try the same.
    """
    found: dict[tuple[int, int], bool] = {}
    engine.model.eval()  # a single sample has no statistics of a batch
    for course, (source, drawn) in enumerate(zip(engine.sources, engine.draw(step), strict=True)):
        head = engine.model[source.component].head
        for sample, owner in zip(drawn.samples, drawn.owners, strict=True):
            found.setdefault((course, owner), False)
            if not engine.sharded:
                parts, targets = collate([sample], engine.device)
                loss = engine.loss(source, parts, targets, head.weigh(targets))
                found[course, owner] |= not bool(torch.isfinite(loss))
    engine.model.train()
    if not engine.sharded:
        engine.buffers.put_back()  # some layers keep statistics in any mode
    return [(where(engine.sources[course].records, owner), guilty) for (course, owner), guilty in found.items()]


class Buffers:
    """The buffers of a model as they were before a step."""

    def __init__(self, model: nn.Module) -> None:
        self._now = list(model.buffers())
        self._before: list[Tensor] = []

    def share(self, world: World) -> None:
        """Give all ranks those of the first."""
        for buffer in self._now:
            world.spread(buffer)

    def keep(self) -> None:
        """Remember them."""
        self._before = [buffer.clone() for buffer in self._now]

    def put_back(self, where: Tensor | None = None) -> None:
        """Make them what they were; with `where`, a truth value on the device, only if it is true."""
        for now, before in zip(self._now, self._before, strict=True):
            now.copy_(before if where is None else torch.where(where, before, now))


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of a tensor that holds an infinite number or none, if there is one."""
    with torch.no_grad():
        floating = ((name, tensor) for name, tensor in tensors.items() if tensor.is_floating_point())
        return next((name for name, tensor in floating if not bool(torch.isfinite(tensor).all())), None)
