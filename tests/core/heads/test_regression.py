from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from anyformer.heads import Regression
from anyformer.nn import Pack, Part, Stream

WIDTH, LENGTHS, NAN = 6, [3, 1, 4], float("nan")
VALUES = torch.tensor([[0.5, NAN], [NAN, NAN], [-1.0, 30.0]])
KNOWN = ~VALUES.isnan()


def streams_of(dtype: torch.dtype = torch.float64) -> dict[str, Stream]:
    x_TD = torch.randn(sum(LENGTHS), WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return {"source": Stream(x_TD.to(dtype), Pack.of(LENGTHS))}


def targets_of(values: torch.Tensor = VALUES) -> dict[str, Part]:
    return {"values": Part(values, Pack.of([1] * len(values)))}


@pytest.mark.parametrize(("miss", "true"), [("squared", F.mse_loss), ("absolute", F.l1_loss), ("huber", F.huber_loss)])
def test_the_loss_is_the_mean_over_known_values(
    miss: str, true: Callable, unit_scale: Callable, relative: Callable
) -> None:
    head = Regression(WIDTH, 2, pool="mean", hidden="tanh", miss=miss).double()
    unit_scale(head)
    streams = streams_of()
    loss, weight = head.loss(streams, targets_of())["loss"], head.weigh(targets_of())["loss"]
    assert weight == 3
    assert relative(loss / weight, true(head(streams)[KNOWN], VALUES[KNOWN].double())) <= 1e-14
    loss.backward()
    assert all(weight.grad.isfinite().all() for weight in head.parameters())


def test_what_is_missing_moves_nothing() -> None:
    head = Regression(WIDTH, 2)
    targets = targets_of(torch.full_like(VALUES, NAN))
    loss = head.loss(streams_of(torch.float32), targets)["loss"]
    loss.backward()
    assert loss == head.weigh(targets)["loss"] == 0
    assert not any(weight.grad.any() for weight in head.parameters())


def test_half_precision_is_summed_in_full_and_predictions_come_in_order() -> None:
    head = Regression(WIDTH).bfloat16()
    streams = streams_of(torch.bfloat16)
    assert head.loss(streams, targets_of(VALUES[:, :1]))["loss"].dtype == torch.float32
    with torch.no_grad():
        values = head(streams)
        predictions = head.split(values, streams)
    assert [p.values["values"].tolist() for p in predictions] == values.float().tolist()
