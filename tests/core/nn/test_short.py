"""Short sequences of one length take the batched products, and get what the fused kernel gives them."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from anyformer.nn import Pack, short
from anyformer.nn.attend import attend


@pytest.fixture(autouse=True)
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifteen are many, fourteen are not."""
    monkeypatch.setattr(short, "MANY", 15)


def drawn(lengths: list[int], heads: int = 3, width: int = 5, groups: int | None = None) -> tuple[list[Tensor], Tensor]:
    torch.manual_seed(0)
    tokens = sum(lengths)
    q, *others = (torch.randn(tokens, num, width, dtype=torch.float64) for num in (heads, *[groups or heads] * 2))
    return [q, *others], Pack.of(lengths).bounds


def answered(tensors: list[Tensor], bounds: Tensor, **rules: Any) -> tuple[Tensor, bool]:
    """What `attend` answers, and whether by batched products."""
    with torch.no_grad(), mock.patch.object(short, "mix", wraps=short.mix) as mix:
        return attend(*tensors, bounds, bounds, **rules), mix.called  # type: ignore[arg-type]


@pytest.mark.parametrize("most", [2**20, 3 * 7 * 7 * 2, 1], ids=["one product", "two at a time", "one at a time"])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_the_same_as_the_fused_kernel(most: int, scale: float | None) -> None:
    tensors, bounds = drawn([7] * 5)
    with mock.patch.object(short, "MOST", most):
        found, used = answered(tensors, bounds, scale=scale)
    assert used
    fused = attend(*tensors, bounds, bounds, scale=scale)  # gradients may be wanted
    torch.testing.assert_close(found, fused, atol=1e-12, rtol=1e-12)
    assert found.is_contiguous()


def test_half_precision_is_computed_in_fp32() -> None:
    tensors, bounds = drawn([7] * 5)
    narrow = [tensor.bfloat16() for tensor in tensors]
    found, used = answered(narrow, bounds)
    assert used
    assert found.dtype == torch.bfloat16
    true = attend(*(tensor.double() for tensor in narrow), bounds, bounds)  # type: ignore[arg-type]
    assert (found - true).abs().max() <= 2**-7 * true.abs().max()


@pytest.mark.parametrize(
    ("lengths", "shape", "rules"),
    [
        ([7] * 5, {"heads": 2}, {}),
        ([7, 7, 7, 7, 6], {}, {}),
        ([7, 9, 8, 7, 9], {}, {}),
        ([short.LONGEST + 1] * 5, {}, {}),
        ([7] * 5, {"width": short.WIDEST + 1}, {}),
        ([7] * 5, {"groups": 1}, {}),
        ([7] * 5, {}, {"causal": True}),
        ([7] * 5, {}, {"window": 2}),
        ([7] * 5, {}, {"bias_HLS": torch.ones(3, 7, 7, dtype=torch.float64)}),
        ([], {}, {}),
    ],
    ids=["few", "lengths", "lengths of the same mean", "long", "wide", "groups", "causal", "window", "bias", "nothing"],
)
def test_all_else_takes_the_fused_kernel(lengths: list[int], shape: dict[str, int], rules: dict[str, Any]) -> None:
    assert not answered(*drawn(lengths, **shape), **rules)[1]
