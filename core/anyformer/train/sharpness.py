"""Sharpness-aware minimization (Foret et al. 2021, https://arxiv.org/abs/2010.01412): weights move by the gradient of a
place nearby where the loss is higher, and so end where it is low all around. It helps most where there is little to learn
from (Bahri et al. 2022, https://arxiv.org/abs/2110.08529).

* Both gradients are of the whole step, over all processes, with the same dropout: what is learned does not depend on how
  many share it. The loss that is told is that of the weights themselves.
* The weights come back bit for bit, from a copy, and so do buffers: statistics are those of the weights themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from anyformer.train.parallel.gradients import own


@contextmanager
def uphill(model: nn.Module, radius: float, norm: Tensor) -> Iterator[None]:
    """Within it, weights stand `radius` up their gradients, whose norm is `norm`; the gradients are gone.

    Gradients that are not finite lead nowhere: what is computed within is then the same again.
    """
    moved = [weight for weight in model.parameters() if weight.grad is not None]
    places = [own(tensor) for tensor in (*moved, *model.buffers())]
    with torch.no_grad():
        before = [place.clone() for place in places]
        factor = radius / norm.clamp(min=1e-12)
        for weight in moved:
            assert weight.grad is not None
            step = own(weight.grad) * factor.to(weight.dtype)
            own(weight).add_(torch.where(torch.isfinite(norm), step, 0.0))
            weight.grad = None
    try:
        yield
    finally:
        with torch.no_grad():
            for place, value in zip(places, before, strict=True):
                place.copy_(value)
