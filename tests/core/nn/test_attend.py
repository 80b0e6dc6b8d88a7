"""The attention operator against three lines of plain PyTorch, one sequence at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from anyformer.nn import Pack
from anyformer.nn.attend import attend, attention_maps

E, H = 4, 4
Bounds = list[list[int]]

CASES: dict[str, tuple[Bounds, Bounds]] = {
    "mixed lengths": ([[0, 3], [3, 4], [4, 9]], [[0, 3], [3, 4], [4, 9]]),
    "equal lengths": ([[0, 3], [3, 6], [6, 9]], [[0, 3], [3, 6], [6, 9]]),
    "equal lengths, more keys": ([[0, 2], [2, 4]], [[0, 5], [5, 10]]),
    "one sequence": ([[0, 5]], [[0, 5]]),
    "one token each": ([[0, 1], [1, 2], [2, 3]], [[0, 1], [1, 2], [2, 3]]),
    "empty sequences": ([[0, 0], [0, 3], [3, 3], [3, 5]], [[0, 0], [0, 3], [3, 3], [3, 5]]),
    "a cache with gaps": ([[0, 1], [1, 3], [3, 4]], [[8, 12], [0, 5], [14, 15]]),
    "equal lengths in a cache with gaps": ([[0, 2], [2, 4]], [[0, 3], [5, 8]]),
    "equal lengths behind a gap": ([[0, 2], [2, 4]], [[2, 5], [5, 8]]),
    "a shared memory": ([[0, 2], [2, 4], [4, 6]], [[0, 4], [0, 4], [4, 8]]),
    "overlapping memories": ([[0, 2], [2, 3]], [[0, 4], [2, 6]]),
    "no sequences": ([], []),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
every_mask = pytest.mark.parametrize("causal", [False, True], ids=["", "causal"])


def inputs(case: tuple[Bounds, Bounds], num_groups: int = H, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    queries, keys = case
    rows = max((end for _, end in keys), default=0) + 2  # Two rows that nobody reads.
    torch.manual_seed(0)
    shapes = [(queries[-1][1] if queries else 0, H, E), (rows, num_groups, E), (rows, num_groups, E)]
    return [torch.randn(shape, dtype=dtype).requires_grad_() for shape in shapes]


def bounds(case: tuple[Bounds, Bounds]) -> list[Tensor]:
    return [torch.tensor(side, dtype=torch.int64).view(-1, 2) for side in case]


def naive(q: Tensor, k: Tensor, v: Tensor, case: tuple[Bounds, Bounds], causal: bool, scale: float = E**-0.5) -> Tensor:
    out = [q[:0]]
    for (first, last), (start, end) in zip(*case, strict=True):
        keys, values = (x[start:end].repeat_interleave(H // x.shape[1], 1) for x in (k, v))
        logits = torch.einsum("lhe,she->hls", q[first:last], keys) * scale
        for i in range(last - first if causal else 0):
            logits[:, i, end - start - (last - first) + i + 1 :] = float("-inf")
        out.append(torch.einsum("hls,she->lhe", logits.softmax(-1), values))
    return torch.cat(out)


@every_case
@every_mask
@pytest.mark.parametrize("num_groups", [4, 2, 1], ids=["multi-head", "grouped", "multi-query"])
def test_attend_equals_a_loop(case: tuple, causal: bool, num_groups: int, relative: Callable) -> None:
    tensors = inputs(case, num_groups)
    found, true = attend(*tensors, *bounds(case), causal=causal), naive(*tensors, case, causal)
    if not found.numel():
        assert found.shape == (0, H, E)
        return
    assert relative(found, true) <= 1e-12
    weights = torch.randn_like(true)
    grads, true_grads = (torch.autograd.grad((out * weights).sum(), tensors) for out in (found, true))
    for grad, true_grad in zip(grads, true_grads, strict=True):
        # One query with one key has a softmax of exactly one: no gradient but rounding.
        assert relative(grad, true_grad) <= 1e-12 or float((grad - true_grad).abs().max()) <= 1e-14
    assert not grads[1][-2:].any(), "rows that nobody reads get no gradient"


@every_case
@every_mask
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradcheck(case: tuple, causal: bool, dropout: float) -> None:
    tensors = inputs(case, num_groups=2)

    def run(*tensors: Tensor) -> Tensor:
        torch.manual_seed(3)
        return attend(*tensors, *bounds(case), causal=causal, scale=0.7, dropout=dropout)

    if tensors[0].numel():
        assert torch.autograd.gradcheck(run, tensors, fast_mode=True)


def test_gradients_of_a_shared_memory_add() -> None:
    case = CASES["a shared memory"]
    q, k, v = inputs(case)
    grads = torch.autograd.grad(attend(q, k, v, *bounds(case)).sum(), [k, v])
    alone = [
        torch.autograd.grad(attend(q[slice(*query)], k, v, *bounds(([[0, 2]], [key]))).sum(), [k, v])
        for query, key in zip(*case, strict=True)
    ]
    for grad, parts in zip(grads, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(grad, sum(parts), rtol=0, atol=1e-13)
        assert parts[0].any()
        assert parts[1].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_precisions(dtype: torch.dtype, relative: Callable) -> None:
    case = CASES["mixed lengths"]
    tensors = inputs(case, dtype=dtype)
    found = attend(*tensors, *bounds(case), causal=True)
    assert found.dtype == dtype
    true = naive(*(x.double() for x in tensors), case, causal=True)
    tolerance = {torch.float32: 1e-6, torch.bfloat16: 1e-2, torch.float16: 2e-3}[dtype]
    assert relative(found.double(), true) <= tolerance
    grads = torch.autograd.grad(found.float().sum(), tensors)
    for grad, true_grad in zip(grads, torch.autograd.grad(true.sum(), tensors), strict=True):
        assert relative(grad.double(), true_grad.double()) <= 4 * tolerance


def test_any_memory_layout(relative: Callable) -> None:
    """The fused kernel reads wrong numbers, silently, where the last axis is not dense."""
    case = CASES["mixed lengths"]
    q, k, v = (x.detach() for x in inputs(case))
    strided = [x.permute(2, 1, 0).contiguous().permute(2, 1, 0) for x in (q, k, v)]
    assert relative(attend(*strided, *bounds(case)), naive(q, k, v, case, False)) <= 1e-12
    one = strided[0].clone().requires_grad_()
    (grad,) = torch.autograd.grad(attend(one, k, v, *bounds(case)).permute(2, 1, 0).contiguous().sum(), one)
    assert grad.isfinite().all()


def test_a_sequence_without_keys_gets_zeros() -> None:
    q, k, v = inputs(([[0, 2], [2, 3]], [[0, 0], [0, 4]]))
    out = attend(q, k, v, *bounds(([[0, 2], [2, 3]], [[0, 0], [0, 4]])))
    assert not out[:2].any()
    assert out[2:].any()


def test_a_query_of_no_sequence_is_a_mistake() -> None:
    x, pack = torch.zeros(5, H, E), Pack.of([1, 3])
    with pytest.raises(AssertionError, match="every query belongs to a sequence"):
        attend(x, x, x, pack.bounds, pack.bounds)


def test_more_causal_queries_than_keys_is_a_mistake() -> None:
    case = ([[0, 3]], [[0, 2]])
    with pytest.raises(AssertionError, match="a causal query needs a key of its own"):
        attend(*inputs(case), *bounds(case), causal=True)


@every_mask
def test_maps_are_the_weights(causal: bool, relative: Callable) -> None:
    """Values that are rows of the identity make attention return its weights."""
    q, k, _ = inputs(([[0, 2]], [[0, E]]), num_groups=2)
    k = k[:E]
    eye = torch.eye(E, dtype=k.dtype)[:, None].expand(E, 2, E)
    maps = attention_maps(q, k, causal=causal)
    assert relative(maps.transpose(0, 1), attend(q, k, eye, *bounds(([[0, 2]], [[0, E]])), causal=causal)) <= 1e-14
    assert relative(maps.sum(-1), torch.ones(H, 2)) <= 1e-14
    assert (maps[:, 0, -1] == 0).all() == causal


@pytest.mark.parametrize("lengths", [[256, 256], [256, 256, 1]], ids=["one call", "three calls"])
def test_dropout_keeps_the_mean_and_the_rate(lengths: list[int]) -> None:
    rate, pack = 0.3, Pack.of(lengths)
    torch.manual_seed(0)
    flat = torch.zeros(pack.num_tokens, 2, 256)
    eye = torch.cat([torch.eye(length, 256) for length in lengths])[:, None].expand(-1, 2, -1)
    out = attend(flat, flat, eye, pack.bounds, pack.bounds, dropout=rate)
    weights = torch.stack(out.split(lengths)[:2]) * 256
    dropped = weights == 0
    torch.testing.assert_close(weights[~dropped], torch.full_like(weights[~dropped], 1 / (1 - rate)))
    assert abs(dropped.double().mean() - rate) < 0.005
    for one, other in (dropped, dropped.unbind(2)):
        assert abs((one & other).double().mean() - rate**2) < 0.005, "sequences and heads have masks of their own"


@pytest.mark.parametrize("lengths", [[E], [3, E]], ids=["one call", "two calls"])
def test_forward_and_backward_drop_the_same_weights(lengths: list[int]) -> None:
    torch.manual_seed(0)
    pack = Pack.of(lengths)
    q, k = torch.randn(2, pack.num_tokens, 1, E, dtype=torch.float64)
    eye = torch.cat([torch.eye(length, E, dtype=torch.float64) for length in lengths])[:, None].requires_grad_()
    dropped = attend(q, k, eye, pack.bounds, pack.bounds, dropout=0.5)[:, 0]
    assert (dropped == 0).any()
    for token, (start, end) in enumerate(pack.bounds[pack.sequence_T].tolist()):
        (grad,) = torch.autograd.grad(dropped[token].sum(), eye, retain_graph=True)
        torch.testing.assert_close(grad[start:end, 0, 0], dropped[token, : end - start], rtol=0, atol=1e-15)


def test_dropout_follows_the_seed() -> None:
    case = CASES["mixed lengths"]
    tensors = inputs(case)
    outs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        outs.append(attend(*tensors, *bounds(case), dropout=0.5))
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])


@pytest.mark.parametrize("name", ["mixed lengths", "equal lengths", "a cache with gaps"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_operator_keeps_its_promises_to_the_compiler(name: str, dropout: float, unchecked: None) -> None:
    case = CASES[name]
    seed = torch.tensor([5]) if dropout else None
    arguments = (*inputs(case, 2), *bounds(case), None, seed, True, 0, 0.5, dropout)
    torch.library.opcheck(torch.ops.anyformer.attend.default, arguments)
