"""How samples become predictions.

A solver is a function `(model, component, samples, options, seeds) -> iterator of (sample index, Prediction)`; a task names
one by lazy reference. It gets as many samples as fit one pack, and may give predictions in any order.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from anyformer.data.packs import collate
from anyformer.nn import Model
from anyformer.task import Prediction, Sample

if TYPE_CHECKING:
    from anyformer.infer.generate import generate

__all__ = ["generate", "one_pass"]


def __getattr__(name: str) -> Any:
    """Decoding is imported by the tasks that write."""
    if name == "generate":
        return importlib.import_module("anyformer.infer.generate").generate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def one_pass(
    model: Model, component: str, samples: Sequence[Sample], options: Any, seeds: Sequence[int]
) -> Iterator[tuple[int, Prediction]]:
    """One forward pass over all samples as one pack."""
    device = next(model.parameters()).device
    parts, _ = collate(samples, device)
    with torch.inference_mode():
        streams = model.encode(parts, component)
        head = model[component].head
        yield from enumerate(head.split(head(streams), streams))
