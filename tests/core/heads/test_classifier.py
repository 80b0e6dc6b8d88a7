from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from anyformer.heads import Classifier, TokenClassifier
from anyformer.heads.sequence import pool
from anyformer.nn import Head, Pack, Part, Stream

WIDTH, CLASSES = 6, 4
LENGTHS = [3, 1, 4, 2]


def streams_of(lengths: list[int] = LENGTHS) -> dict[str, Stream]:
    x_TD = torch.randn(sum(lengths), WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return {"source": Stream(x_TD.requires_grad_(), Pack.of(lengths))}


def labels_of(name: str, *labels: int) -> dict[str, Part]:
    return {name: Part(torch.tensor(labels), Pack.of([len(labels)]))}


def mean_loss(head: Head, streams: dict, targets: dict) -> torch.Tensor:
    (loss,), (weight,) = head.loss(streams, targets).values(), head.weigh(targets).values()
    assert weight.dtype == torch.float64
    return loss / weight


@pytest.mark.parametrize("how", ["first", "last", "mean"])
@pytest.mark.parametrize("lengths", [LENGTHS, [3, 3], [1, 1, 1]], ids=str)
def test_pool_takes_each_sequence_alone(how: str, lengths: list[int], relative: Callable) -> None:
    stream = streams_of(lengths)["source"]
    rows = []
    for x_LD in stream.x_TD.split(lengths):
        rows.append({"first": x_LD[0], "last": x_LD[-1], "mean": sum(x_LD) / len(x_LD)}[how])
    found, true = pool(stream.x_TD, stream.pack, how), torch.stack(rows)
    assert relative(found, true) <= 1e-14
    weights = torch.randn_like(true)
    grads = [torch.autograd.grad((out * weights).sum(), stream.x_TD)[0] for out in (found, true)]
    assert relative(*grads) <= 1e-14


def test_mean_of_a_long_sequence_in_half_precision(relative: Callable) -> None:
    x_TD = torch.rand(5000, WIDTH, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = pool(x_TD, Pack.of([4000, 1000]), "mean")
    assert found.dtype == torch.bfloat16
    assert relative(found.double(), torch.stack([x.double().mean(0) for x in x_TD.split([4000, 1000])])) < 2**-8


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("hidden", [None, "tanh"])
def test_classifier_loss_is_the_mean_over_labelled_sequences(
    smoothing: float, hidden: str | None, unit_scale: Callable, relative: Callable
) -> None:
    head = Classifier(WIDTH, CLASSES, pool="first", hidden=hidden, smoothing=smoothing).double()
    unit_scale(head)
    streams, targets = streams_of(), labels_of("label", 2, -100, 0, 3)
    true = []
    for x_LD, label in zip(streams["source"].x_TD.split(LENGTHS), [2, -100, 0, 3], strict=True):
        vector = torch.tanh(head.hidden.weight @ x_LD[0] + head.hidden.bias) if hidden else x_LD[0]
        log_shares = (head.output.weight @ vector + head.output.bias).log_softmax(-1)
        if label >= 0:
            true.append(-(1 - smoothing) * log_shares[label] - smoothing * log_shares.mean())
    assert relative(mean_loss(head, streams, targets), sum(true) / 3) <= 1e-14


def test_token_classifier_loss_is_the_mean_over_labelled_tokens(relative: Callable) -> None:
    head = TokenClassifier(WIDTH, CLASSES, smoothing=0.1).double()
    streams, targets = streams_of(), labels_of("labels", 0, -100, 2, 3, -100, -100, 1, 1, 0, -100)
    labels = targets["labels"].values
    true = F.cross_entropy(head(streams)[labels >= 0], labels[labels >= 0], label_smoothing=0.1)
    assert relative(mean_loss(head, streams, targets), true) <= 1e-14


def test_no_label_is_no_loss_and_no_gradient() -> None:
    for head, name, num in ((Classifier(WIDTH, CLASSES), "label", 4), (TokenClassifier(WIDTH, CLASSES), "labels", 10)):
        head.double()
        targets = labels_of(name, *[-100] * num)
        loss = head.loss(streams_of(), targets)["loss"]
        loss.backward()
        assert loss == 0
        assert head.weigh(targets)["loss"] == 0
        assert not any(weight.grad.any() for weight in head.parameters())


def test_predictions_come_in_order() -> None:
    streams = streams_of()
    with torch.no_grad():
        one, each = Classifier(WIDTH, CLASSES).double(), TokenClassifier(WIDTH, CLASSES).double()
        of_one, of_each = (head.split(head(streams), streams) for head in (one, each))
        for index, x_LD in enumerate(streams["source"].x_TD.split(LENGTHS)):
            alone = {"source": Stream(x_LD, Pack.of([len(x_LD)]))}
            for head, found in ((one, of_one[index]), (each, of_each[index])):
                (true,) = head.split(head(alone), alone)
                assert found.values["logits"].dtype == np.float32
                np.testing.assert_allclose(found.values["logits"], true.values["logits"], rtol=1e-6)
    assert [len(found.values["logits"]) for found in of_each] == LENGTHS


def test_at_picks_rows() -> None:
    at = torch.tensor([3, 1])
    for head in (Classifier(WIDTH, CLASSES).double(), TokenClassifier(WIDTH, CLASSES).double()):
        torch.testing.assert_close(head(streams_of(), at), head(streams_of())[at])


def test_half_precision_logits_are_summed_in_full() -> None:
    head = TokenClassifier(WIDTH, CLASSES).bfloat16()
    stream = streams_of()["source"]
    streams = {"source": Stream(stream.x_TD.detach().bfloat16(), stream.pack)}
    assert head.loss(streams, labels_of("labels", *[1] * 10))["loss"].dtype == torch.float32
