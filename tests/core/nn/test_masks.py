"""Windows, biases and their gradients against plain products; buckets and slopes against their published code."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from anyformer.nn import Pack, masks
from anyformer.nn.attend import attend, attention_maps

H, E = 4, 6


def naive(q: Tensor, k: Tensor, v: Tensor, pack: Pack, bias: Tensor | None, causal: bool, window: int) -> Tensor:
    """One sequence after another, one rule after another."""
    outs = []
    for start, end in pack.bounds.tolist():
        length = end - start
        keys, values = (x[start:end].repeat_interleave(H // k.shape[1], 1) for x in (k, v))
        logits = torch.einsum("lhe,she->hls", q[start:end], keys) / E**0.5
        if bias is not None:
            logits = logits + bias[:, pack.longest - length :, pack.longest - length :]
        apart = torch.arange(length) - torch.arange(length)[:, None]
        hidden = torch.zeros(length, length, dtype=torch.bool)
        if causal:
            hidden |= apart > 0
        if window:
            hidden |= apart.abs() >= window
        outs.append(torch.einsum("hls,she->lhe", logits.masked_fill(hidden, float("-inf")).softmax(-1), values))
    return torch.cat(outs)


@pytest.mark.parametrize("lengths", [[3, 5, 1, 7], [4, 4, 4]], ids=str)
@pytest.mark.parametrize(
    ("causal", "window", "num_groups", "biased"),
    list(itertools.product([False, True], [0, 1, 3], [4, 2], [False, True])),
)
def test_values_and_gradients(lengths: list[int], causal: bool, window: int, num_groups: int, biased: bool) -> None:
    torch.manual_seed(0)
    pack = Pack.of(lengths)
    shapes = [(pack.num_tokens, heads, E) for heads in (H, num_groups, num_groups)]
    shapes += [(H, pack.longest, pack.longest)] if biased else []
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    bias = inputs[3] if biased else None
    out = attend(*inputs[:3], pack.bounds, pack.bounds, bias_HLS=bias, causal=causal, window=window)
    expected = naive(*inputs[:3], pack, bias, causal, window)
    weight = torch.randn_like(out)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    for found, wanted in zip(
        torch.autograd.grad(out, inputs, weight), torch.autograd.grad(expected, inputs, weight), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-11)


def test_a_bias_that_is_not_learned_leaves_the_other_gradients_right() -> None:
    torch.manual_seed(0)
    pack = Pack.of([2, 5])
    q, k, v = (torch.randn(7, H, E, dtype=torch.float64, requires_grad=True) for _ in range(3))
    bias = torch.randn(H, 5, 5, dtype=torch.float64)
    out = attend(q, k, v, pack.bounds, pack.bounds, bias_HLS=bias, causal=True)
    expected = naive(q, k, v, pack, bias, True, 0)
    for found, wanted in zip(
        torch.autograd.grad(out.square().sum(), (q, k, v)),
        torch.autograd.grad(expected.square().sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-11)


def test_dropout_and_a_learned_bias_together() -> None:
    pack = Pack.of([2, 3])
    torch.manual_seed(0)
    inputs = [torch.randn(5, 2, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    inputs.append(torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True))

    def call(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        torch.manual_seed(1)
        return attend(q, k, v, pack.bounds, pack.bounds, bias_HLS=bias, causal=True, dropout=0.4)

    assert torch.autograd.gradcheck(call, inputs)


def test_maps_follow_the_same_rules() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(5, H, E), torch.randn(5, H, E)
    maps = attention_maps(q, k, bias_HLS=torch.randn(H, 5, 5), causal=True, window=2)
    seen = masks.sees(5, 5, True, 2, q.device)
    torch.testing.assert_close(maps.sum(-1), torch.ones(H, 5))
    assert not maps[:, ~seen].any()
    assert bool((maps[:, seen] > 0).all())


def test_a_window_of_fewer_queries_than_keys_stands_at_the_end() -> None:
    assert masks.sees(2, 4, True, 2, torch.device("cpu")).tolist() == [
        [False, True, True, False],
        [False, False, True, True],
    ]


@pytest.mark.parametrize("causal", [False, True], ids=["both", "causal"])
def test_buckets_are_those_of_t5(causal: bool) -> None:
    from transformers.models.t5.modeling_t5 import T5Attention

    apart = masks.distances(40, 300, torch.device("cpu"))
    wanted = T5Attention._relative_position_bucket(apart, bidirectional=not causal, num_buckets=32, max_distance=128)
    assert torch.equal(masks.buckets(apart, 32, 128, causal), wanted)


@pytest.mark.parametrize("num_heads", [1, 8, 12, 20])
def test_slopes_are_those_of_alibi(num_heads: int) -> None:
    from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

    wanted = build_mpt_alibi_tensor(num_heads, 7)[:, 0]
    found = masks.alibi(num_heads, 1, 7, torch.float32, torch.device("cpu"))[:, 0]
    # MPT orders the filled-up slopes in its own way; as a set they are the paper's.
    torch.testing.assert_close(found.sort(0).values, wanted.sort(0).values)
