from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from anyformer.heads import MultiLabel
from anyformer.nn import Pack, Part, Stream

WIDTH, LENGTHS = 6, [3, 1, 4]
LABELS = torch.tensor([[1, 0, -100, 1], [-100, -100, -100, -100], [0, 0, 1, -100]])
KNOWN = LABELS >= 0


def streams_of(dtype: torch.dtype = torch.float64) -> dict[str, Stream]:
    x_TD = torch.randn(sum(LENGTHS), WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return {"source": Stream(x_TD.to(dtype), Pack.of(LENGTHS))}


def targets_of(labels: torch.Tensor = LABELS) -> dict[str, Part]:
    return {"labels": Part(labels, Pack.of([1] * len(labels)))}


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5, 3.0]])
def test_the_loss_is_the_mean_over_known_labels(
    weights: list[float] | None, unit_scale: Callable, relative: Callable
) -> None:
    head = MultiLabel(WIDTH, 4, pool="first", hidden="tanh", positive_weights=weights).double()
    unit_scale(head)
    streams = streams_of()
    found = head.loss(streams, targets_of())["loss"] / head.weigh(targets_of())["loss"]
    given = None if weights is None else torch.tensor(weights, dtype=torch.float64).expand(3, 4)[KNOWN]
    true = F.binary_cross_entropy_with_logits(head(streams)[KNOWN], LABELS[KNOWN].double(), pos_weight=given)
    assert relative(found, true) <= 1e-14
    assert head.weigh(targets_of())["loss"] == 6


def test_what_is_unknown_moves_nothing() -> None:
    head = MultiLabel(WIDTH, 4)
    targets = targets_of(torch.full_like(LABELS, -100))
    loss = head.loss(streams_of(torch.float32), targets)["loss"]
    loss.backward()
    assert loss == head.weigh(targets)["loss"] == 0
    assert not any(weight.grad.any() for weight in head.parameters())


def test_half_precision_is_summed_in_full_and_predictions_come_in_order() -> None:
    head = MultiLabel(WIDTH, 4).bfloat16()
    streams = streams_of(torch.bfloat16)
    assert head.loss(streams, targets_of())["loss"].dtype == torch.float32
    with torch.no_grad():
        logits = head(streams)
        predictions = head.split(logits, streams)
    assert [p.values["logits"].tolist() for p in predictions] == logits.float().tolist()
