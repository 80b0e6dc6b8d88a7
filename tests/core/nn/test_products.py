from __future__ import annotations

from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from anyformer.nn import products
from anyformer.nn.attention import Attention

only_where_it_serves = pytest.mark.skipif(not products.serves(), reason="this machine's oneDNN is not used")


@only_where_it_serves
@pytest.mark.parametrize("shape", [(512, 128), (4, 128, 128)])
@pytest.mark.parametrize("outputs", [130, 128])
@pytest.mark.parametrize("biased", [True, False])
def test_products_and_gradients_are_those_of_f_linear(shape: tuple[int, ...], outputs: int, biased: bool) -> None:
    torch.manual_seed(0)
    given = [torch.randn(*shape), torch.randn(outputs, 128), torch.randn(outputs) if biased else None]
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


class _Block(nn.Module):
    """Attention to itself and to a memory, as a block has them."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.cross = (Attention(256, 4, 2, 64, causal=causal) for causal in (True, False))


@only_where_it_serves
@pytest.mark.parametrize(
    ("case", "widths"),
    [("self", [512]), ("cross", [256]), *((each, [256, 128, 128]) for each in ("positions", "hooked", "few rows"))],
)
def test_projections_of_one_tensor_are_joined_where_nothing_stands_between(case: str, widths: list[int]) -> None:
    torch.manual_seed(0)
    block, seen = _Block(), []
    names = list(block.state_dict())
    part = block.cross if case == "cross" else block.attention
    layers = [part.key, part.value] if case == "cross" else [part.query, part.key, part.value]
    if case == "hooked":
        part.key.register_forward_hook(lambda *_: seen.append(1))
    x = torch.randn(8 if case == "few rows" else 300, 256)
    position = torch.randn_like(x) if case == "positions" else None
    results = []
    for fast in (False, True):
        if fast:
            products.speed_up(block)
        assert (part.joined is not None) == fast
        block.zero_grad()
        own = x.clone().requires_grad_()
        placed = own if position is None else own + position
        with mock.patch.object(products, "linear", wraps=products.linear) as called:
            found = part.joined(own, position) if fast else [*(one(placed) for one in layers[:-1]), layers[-1](own)]
        torch.stack([each.square().mean() for each in found]).sum().backward()
        gradients = [weight.grad.clone() for layer in layers for weight in layer.parameters()]
        results.append([*(each.detach() for each in found), own.grad, *gradients])
    assert [call.args[1].shape[0] for call in called.call_args_list] == widths
    assert len(seen) == (2 if case == "hooked" else 0)
    for own, right in zip(*results, strict=True):
        torch.testing.assert_close(own, right, rtol=1e-4, atol=1e-5)
    assert list(block.state_dict()) == names
    products.restore(block)
    assert block.attention.joined is block.cross.joined is None


def test_a_machine_whose_numbers_are_wrong_is_not_used() -> None:
    products.serves.cache_clear()
    try:
        with mock.patch.object(products, "_product", lambda x, weight, bias=None: x @ weight.t() + 1):
            assert not products.serves()
    finally:
        products.serves.cache_clear()
