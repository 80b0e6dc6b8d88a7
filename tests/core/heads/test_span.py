from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from anyformer.heads.span import Span, choice_loss_sum
from anyformer.nn import Pack, Part, Stream

WIDTH = 6
LENGTHS = [3, 1, 5, 2]
STARTS, ENDS = (2, 0, -100, 1), (2, 0, 4, -100)


def streams_of(lengths: list[int] = LENGTHS) -> dict[str, Stream]:
    x_TD = torch.randn(sum(lengths), WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return {"source": Stream(x_TD.requires_grad_(), Pack.of(lengths))}


def targets_of(starts: tuple[int, ...], ends: tuple[int, ...]) -> dict[str, Part]:
    pack = Pack.of([1] * len(starts))
    return {"start": Part(torch.tensor(starts), pack), "end": Part(torch.tensor(ends), pack)}


def test_loss_is_the_mean_of_two_cross_entropies_over_each_sequence(unit_scale: Callable, relative: Callable) -> None:
    head, streams, targets = Span(WIDTH).double(), streams_of(), targets_of(STARTS, ENDS)
    unit_scale(head)
    (loss,), (weight,) = head.loss(streams, targets).values(), head.weigh(targets).values()
    assert (weight.item(), weight.dtype) == (3.0, torch.float64)

    scores = [head.output(x_LD) for x_LD in streams["source"].x_TD.split(LENGTHS)]
    places = [
        (score[:, edge], at) for edge, all in enumerate((STARTS, ENDS)) for score, at in zip(scores, all, strict=True)
    ]
    true = torch.stack([F.cross_entropy(score[None], torch.tensor([at])) for score, at in places if at >= 0]).sum() / 2
    assert relative(loss, true) <= 1e-14
    grads = [torch.autograd.grad(each, streams["source"].x_TD)[0] for each in (loss, true)]
    assert relative(*grads) <= 1e-14


def test_great_scores_neither_overflow_nor_vanish() -> None:
    scores_TC = torch.tensor([[1e4, -1e4], [1e4, 0.0], [3.0, -1e4]])
    loss = choice_loss_sum(scores_TC, torch.tensor([[0, 1], [0, 0]]), Pack.of([2, 1]))
    assert loss.item() == pytest.approx(np.log(2))


def test_half_precision_is_summed_in_fp32(relative: Callable) -> None:
    scores_TC = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)).bfloat16()
    places_BC, pack = torch.tensor([[5, 7]]), Pack.of([4000])
    found = choice_loss_sum(scores_TC, places_BC, pack)
    assert found.dtype == torch.float32
    assert relative(found.double(), choice_loss_sum(scores_TC.double(), places_BC, pack)) < 1e-5


def test_unknown_places_weigh_nothing() -> None:
    head, targets = Span(WIDTH).double(), targets_of((-100,) * 4, (-100,) * 4)
    assert head.weigh(targets)["loss"] == head.loss(streams_of(), targets)["loss"] == 0


def test_predictions_are_two_scores_a_token_of_each_sequence(unit_scale: Callable) -> None:
    head, streams = Span(WIDTH).double(), streams_of()
    unit_scale(head)
    output = head(streams)
    np.testing.assert_array_equal(head(streams, torch.tensor([4, 0])).detach(), output[[4, 0]].detach())
    found = head.split(output.detach(), streams)
    assert [len(prediction.values["start"]) for prediction in found] == LENGTHS
    together = np.concatenate([np.stack([p.values["start"], p.values["end"]], axis=1) for p in found])
    np.testing.assert_array_equal(together, output.detach().float().numpy())
