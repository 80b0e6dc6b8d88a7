from __future__ import annotations

import numpy as np
import pytest
import torch

from anyformer.heads import Quantile
from anyformer.nn import Pack, Part, Stream

WIDTH, PATCHES, HORIZON = 4, 3, 5
LEVELS = [0.1, 0.5, 0.8]
SEQUENCES = 4


def head_of(**fields: object) -> Quantile:
    torch.manual_seed(0)
    return Quantile(WIDTH, HORIZON, LEVELS, PATCHES, **fields)


def streams_of() -> dict[str, Stream]:
    x_TD = torch.randn(SEQUENCES * PATCHES, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return {"source": Stream(x_TD, Pack.of([PATCHES] * SEQUENCES))}


def values_of(rng: np.random.Generator) -> np.ndarray:
    values = rng.normal(size=(SEQUENCES, HORIZON)).astype(np.float32)
    values[0, 1] = values[2, 3:] = values[3] = np.nan
    return values


def test_loss_is_the_pinball_loss_of_what_is_known() -> None:
    head, streams, values = head_of().double(), streams_of(), values_of(np.random.default_rng(0))
    patches = streams["source"].x_TD.numpy().reshape(SEQUENCES, PATCHES * WIDTH)
    weight, bias = (weight.detach().numpy() for weight in head.output.parameters())
    found = (patches @ weight.T + bias).reshape(SEQUENCES, HORIZON, len(LEVELS))
    losses = []
    for sequence, step in zip(*np.nonzero(np.isfinite(values)), strict=True):
        for index, level in enumerate(LEVELS):
            miss = float(values[sequence, step]) - found[sequence, step, index]
            losses.append(level * miss if miss > 0 else (level - 1) * miss)
    targets = {"values": Part(torch.from_numpy(values.ravel()), Pack.of([HORIZON] * SEQUENCES))}
    loss, weight = head.loss(streams, targets)["loss"], head.weigh(targets)["loss"]
    assert weight == len(losses)
    assert (loss / weight).item() == pytest.approx(np.mean(losses), rel=1e-14)
    loss.backward()
    assert head.output.weight.grad.isfinite().all()
    assert head.output.weight.grad.any()


def test_nothing_known_is_no_loss_and_no_gradient() -> None:
    head = head_of().double()
    targets = {"values": Part(torch.full((SEQUENCES * HORIZON,), torch.nan), Pack.of([HORIZON] * SEQUENCES))}
    loss = head.loss(streams_of(), targets)["loss"]
    loss.backward()
    assert (loss, head.weigh(targets)["loss"]) == (0, 0)
    assert not head.output.weight.grad.any()


def test_the_best_constant_is_the_quantile() -> None:
    """What the name promises: with no input, minimising the loss finds the empirical quantiles."""
    sample = np.random.default_rng(0).gumbel(size=1001).astype(np.float32)
    head = Quantile(1, horizon=1, quantiles=LEVELS, num_patches=1).double()
    streams = {"source": Stream(torch.zeros(len(sample), 1, dtype=torch.float64), Pack.of([1] * len(sample)))}
    targets = {"values": Part(torch.from_numpy(sample), Pack.of([1] * len(sample)))}
    with torch.no_grad():
        head.output.bias.copy_(torch.from_numpy(np.quantile(sample, LEVELS)))
    best = head.loss(streams, targets)["loss"].item()
    for index in range(len(LEVELS)):
        for away in (-0.05, 0.05):
            with torch.no_grad():
                head.output.bias[index] += away
                assert head.loss(streams, targets)["loss"].item() > best
                head.output.bias[index] -= away


def test_predictions_never_cross_and_come_in_order() -> None:
    head, streams = head_of().double(), streams_of()
    with torch.no_grad():
        output = head(streams)
        found = [prediction.values["quantiles"] for prediction in head.split(output, streams)]
    assert (output.diff(dim=-1) < 0).any(), "a new head crosses its quantiles, or this tests nothing"
    assert all((np.diff(quantiles, axis=-1) >= 0).all() for quantiles in found)
    np.testing.assert_array_equal(np.stack(found), np.sort(output.float().numpy(), axis=-1))
    with torch.no_grad():
        at = torch.tensor([2, 0])
        torch.testing.assert_close(head(streams, at), output[at])


def test_the_state_is_weights_alone() -> None:
    with torch.device("meta"):
        empty = head_of()
    assert set(empty.state_dict()) == {"output.weight", "output.bias"}
    empty.load_state_dict(head_of().state_dict(), assign=True)
    streams = {"source": Stream(streams_of()["source"].x_TD.float(), Pack.of([PATCHES] * SEQUENCES))}
    targets = {"values": Part(torch.zeros(SEQUENCES * HORIZON), Pack.of([HORIZON] * SEQUENCES))}
    assert torch.equal(empty.loss(streams, targets)["loss"], head_of().loss(streams, targets)["loss"])


@pytest.mark.parametrize("levels", [[], [0.0, 0.5], [0.5, 1.0], [0.9, 0.1], [0.5, 0.5]])
def test_quantiles_that_cannot_be(levels: list[float]) -> None:
    with pytest.raises(ValueError, match=r"quantiles must grow from above 0 to below 1, like \[0.1, 0.5, 0.9\]; got"):
        Quantile(WIDTH, HORIZON, levels, PATCHES)


def test_every_sequence_has_its_patches() -> None:
    streams = {"source": Stream(torch.zeros(5, WIDTH), Pack.of([2, 3]))}
    with pytest.raises(AssertionError, match="every sequence has num_patches"):
        head_of()(streams)


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_pooled_patches(pool: str) -> None:
    head, streams = head_of(pool=pool).double(), streams_of()
    patches = streams["source"].x_TD.view(SEQUENCES, PATCHES, WIDTH)
    pooled = patches.mean(1) if pool == "mean" else patches.max(1).values
    torch.testing.assert_close(head(streams), head.output(pooled).view(SEQUENCES, HORIZON, len(LEVELS)))


def test_squared_error_of_what_is_known() -> None:
    head = Quantile(WIDTH, HORIZON, [0.5], PATCHES, squared=True).double()
    values = values_of(np.random.default_rng(0))
    targets = {"values": Part(torch.from_numpy(values.ravel()), Pack.of([HORIZON] * SEQUENCES))}
    found = head(streams_of())[:, :, 0].detach().numpy()
    loss = head.loss(streams_of(), targets)["loss"]
    assert (loss / head.weigh(targets)["loss"]).item() == pytest.approx(np.nanmean((found - values) ** 2), rel=1e-12)
    loss.backward()
    assert head.output.weight.grad is not None
    assert head.output.weight.grad.isfinite().all()
