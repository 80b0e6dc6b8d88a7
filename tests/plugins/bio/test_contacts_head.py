from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from anyformer.nn import Component, Model, Pack, Part, Stream, build, config
from anyformer_bio.contact_map import ContactMap
from anyformer_bio.heads.contacts import Contacts


def random_maps(layers: int, heads: int, length: int) -> torch.Tensor:
    return torch.randn(layers, heads, length, length).mul(2).softmax(-1)


def test_the_regression_equals_that_of_transformers() -> None:
    theirs = pytest.importorskip("transformers.models.esm.modeling_esm").EsmContactPredictionHead(3 * 4)
    head = Contacts(num_layers=3, num_heads=4, width=5)
    head.regression.load_state_dict(theirs.regression.state_dict())
    lengths = [15, 9, 30]
    maps = [random_maps(3, 4, length) for length in lengths]
    watch = head.watch()
    for layer in range(3):
        for sequence, found in enumerate(maps):
            watch(layer, sequence, found[layer])
    streams = {"source": Stream(torch.randn(sum(lengths), 5), Pack.of(lengths))}
    with torch.no_grad():
        predictions = head.split(head(streams), streams)
        for length, found, prediction in zip(lengths, maps, predictions, strict=True):
            tokens = torch.tensor([[0, *[5] * (length - 2), 2]])
            expected = theirs(tokens, found[None])[0][np.triu_indices(length - 2, 6)]
            torch.testing.assert_close(torch.from_numpy(prediction.values["logits"]).sigmoid(), expected)


@pytest.fixture
def model(fitted: Callable[..., Any], unit_scale: Callable[..., None]) -> Callable[..., Model]:
    def make(pair_width: int) -> Model:
        task = fitted(ContactMap, pair_width=pair_width)
        stack = config.Stack(width=16, depth=2, attention=config.Attention(heads=2))
        trunk = config.Trunk(encoder=stack)
        made = Model(build.trunk(trunk), {"contacts": Component(task, task.embedding(trunk), task.head(trunk))})
        unit_scale(made)
        return made.double()

    return make


def parts(lengths: list[int]) -> tuple[dict[str, Part], dict[str, Part]]:
    ids = torch.randint(4, 24, (sum(lengths),))
    pairs = [(length - 8) * (length - 7) // 2 for length in lengths]
    labels = torch.randint(0, 2, (sum(pairs),))
    labels[::5] = -100
    return {"source": Part(ids, Pack.of(lengths))}, {"contacts": Part(labels, Pack.of(pairs))}


@pytest.mark.parametrize("pair_width", [0, 4])
def test_what_learns(model: Callable[..., Model], pair_width: int) -> None:
    """The regression always does, the trunk by the term of pairs alone; gradients are those of finite differences."""
    made = model(pair_width)
    given, targets = parts([12, 20])
    head = made["contacts"].head
    loss = made(given, targets, "contacts")["loss"]
    loss.backward()
    learns = {name for name, p in made.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert {name for name in learns if "regression" in name} == {
        f"components.contacts.head.regression.{name}" for name in ("weight", "bias")
    }
    assert any(name.startswith("trunk") for name in learns) == (pair_width > 0)
    assert isinstance(head, Contacts)
    weight: nn.Parameter = head.regression.weight
    assert weight.grad is not None
    with torch.no_grad():
        for place in range(4):
            weight[0, place] += 1e-6
            moved = (made(given, targets, "contacts")["loss"] - loss) / 1e-6
            weight[0, place] -= 1e-6
            assert moved.item() == pytest.approx(weight.grad[0, place].item(), rel=1e-3, abs=1e-4)
    assert head.weigh(targets)["loss"].item() == (targets["contacts"].values >= 0).sum()


def test_a_pass_that_was_not_watched_is_noticed() -> None:
    head = Contacts(2, 2, 4)
    with pytest.raises(AssertionError, match="was not given the attention maps"):
        head({"source": Stream(torch.randn(9, 4), Pack.of([9]))})
