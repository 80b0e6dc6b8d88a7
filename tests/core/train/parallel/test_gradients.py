"""Sums of plain gradients: buckets, kinds of numbers, and gradients that some processes lack."""

from __future__ import annotations

import pytest
import torch
from processes import on_ranks
from torch import Tensor, nn

from anyformer.train.parallel import gradients
from anyformer.train.parallel.world import World


def summed(world: World, bucket: int) -> list[Tensor | None]:
    """Gradients of five weights: of two kinds, one that a process lacks, one that all lack, one frozen."""
    gradients.BUCKET = bucket
    kinds = [torch.float64, torch.float32, torch.float64, torch.float64, torch.float64]
    weights = [nn.Parameter(torch.zeros(3, 2, dtype=kind)) for kind in kinds]
    for index, weight in enumerate(weights):
        weight.grad = torch.full_like(weight, 10.0 * index + world.rank)
    weights[0].grad = torch.arange(6.0, dtype=torch.float64).view(2, 3).T * (world.rank + 1)
    weights[3].grad = None
    if world.rank == 1:
        weights[2].grad = None
    weights[4].requires_grad_(False)
    gradients.sum_gradients(weights, world)
    return [weight.grad for weight in weights]


def both(world: World) -> list[list[Tensor | None]]:
    return [summed(world, bucket) for bucket in (1, 2**20)]


def test_plain_gradients() -> None:
    for rank, found in enumerate(on_ranks(both, 2)):
        for first, second, third, fourth, fifth in found:
            assert first is not None
            assert torch.equal(first, torch.arange(6.0, dtype=torch.float64).view(2, 3).T * 3)
            assert second is not None
            assert second.dtype == torch.float32
            assert second.unique().tolist() == [21.0]
            assert third is not None
            assert third.unique().tolist() == [20.0]
            assert fourth is None
            assert fifth is not None
            assert fifth.unique().tolist() == [40.0 + rank]


def norms(world: World) -> tuple[float, float]:
    """Of no gradients at all, and of large ones."""
    weight = nn.Parameter(torch.zeros(4))
    none = gradients.total_norm([weight], world).item()
    weight.grad = torch.full((4,), 1e18)
    return none, gradients.total_norm([weight], world).item()


def test_norms() -> None:
    for none, large in on_ranks(norms, 2):
        assert none == 0
        assert large == pytest.approx(2e18)
