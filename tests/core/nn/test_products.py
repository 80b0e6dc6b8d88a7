from __future__ import annotations

from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from anyformer.nn import products

only_where_it_serves = pytest.mark.skipif(not products.serves(), reason="this machine's oneDNN is not used")


@only_where_it_serves
@pytest.mark.parametrize("shape", [(512, 128), (4, 128, 128)])
@pytest.mark.parametrize("biased", [True, False])
def test_products_and_gradients_are_those_of_f_linear(shape: tuple[int, ...], biased: bool) -> None:
    torch.manual_seed(0)
    given = [torch.randn(*shape), torch.randn(130, 128), torch.randn(130) if biased else None]
    results = []
    for function in (products.linear, F.linear):
        x, weight, bias = (None if t is None else t.clone().requires_grad_() for t in given)
        out = function(x, weight, bias)
        out.square().mean().backward()
        results.append([out, x.grad, weight.grad, *([] if bias is None else [bias.grad])])
    assert "_Linear" in type(products.linear(given[0], weight, None).grad_fn).__name__
    for own, right in zip(*results, strict=True):
        torch.testing.assert_close(own, right, rtol=1e-5, atol=1e-4)


@only_where_it_serves
def test_only_the_gradients_that_are_needed_are_computed() -> None:
    frozen, x = torch.randn(256, 256), torch.randn(256, 256, requires_grad=True)
    products.linear(x, frozen).sum().backward()
    torch.testing.assert_close(x.grad, frozen.sum(0).expand(256, -1), rtol=1e-4, atol=1e-4)
    assert frozen.grad is None


@pytest.mark.parametrize("case", ["few rows", "float64", "autocast", "small"])
def test_what_does_not_pay_is_left_to_f_linear(case: str) -> None:
    dtype = torch.float64 if case == "float64" else torch.float32
    x = torch.randn(8 if case == "few rows" else 256, 8 if case == "small" else 512, dtype=dtype)
    weight = torch.randn(512, x.shape[1], dtype=dtype)
    with mock.patch.object(products, "_Linear", None), torch.autocast("cpu", enabled=case == "autocast"):
        assert torch.equal(products.linear(x, weight), F.linear(x, weight))


@only_where_it_serves
def test_a_model_is_sped_up_and_restored() -> None:
    model = nn.Sequential(nn.Linear(256, 256), nn.GELU())
    x = torch.randn(256, 256)
    before, names = model(x), list(model.state_dict())
    products.speed_up(model)
    assert "_Linear" in type(model[0](x).grad_fn).__name__
    torch.testing.assert_close(model(x), before, rtol=1e-5, atol=1e-5)
    assert list(model.state_dict()) == names
    products.restore(model)
    assert "forward" not in vars(model[0])
    assert torch.equal(model(x), before)


def test_a_machine_whose_numbers_are_wrong_is_not_used() -> None:
    products.serves.cache_clear()
    try:
        with mock.patch.object(products, "_product", lambda x, weight, bias=None: x @ weight.t() + 1):
            assert not products.serves()
    finally:
        products.serves.cache_clear()
