"""The operator `anyformer::attend`: a pack cut into kernel calls, with a backward of its own, opaque to the compiler.

Axis legend: T query tokens, S key rows, B sequences, H query heads, K key-value heads, E head width.

* Registered piece by piece: the decorator `custom_op` wraps every call in the compiler's guard and imports the compiler.
* Lengths come as tensors on the host, so that compiled code sees shapes and never lengths.
* What is learned without the compiler goes by `learned`, the same functions without the registry's Python around them: the
  calls are found once, and the denominators of the softmax are kept as the kernel gave them, call by call. One call of the
  CPU's kernel for all rows needs no backward of ours, as autograd knows that kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from anyformer.nn import masks
from anyformer.nn.kernels import Rules, fused_gradients, mix, plain_gradients

# One call: rows of the queries, rows of the keys, and the shape [b, L] of the queries and [b, S] of the keys in them.
_Call = tuple[slice, slice, tuple[int, int], tuple[int, int]]


def _calls(q_bounds: Tensor, k_bounds: Tensor, q_rows: int) -> Iterator[_Call]:
    """The kernel calls that a pack needs: one where all sequences are alike and lie end to end, else one a sequence."""
    queries: list[list[int]] = q_bounds.tolist()
    keys: list[list[int]] = queries if k_bounds is q_bounds else k_bounds.tolist()
    assert (queries[-1][1] if queries else 0) == q_rows, "every query belongs to a sequence"
    if not queries:
        return
    num = len(queries)
    length, span = queries[0][1] - queries[0][0], keys[0][1] - keys[0][0]
    start = keys[0][0]
    if length * num == q_rows and all(
        query[1] - query[0] == length and key == [start + i * span, start + (i + 1) * span]
        for i, (query, key) in enumerate(zip(queries, keys, strict=True))
    ):
        if length and span:
            yield slice(0, q_rows), slice(start, start + num * span), (num, length), (num, span)
        return
    for (q_start, q_end), (k_start, k_end) in zip(queries, keys, strict=True):
        if q_end > q_start and k_end > k_start:
            yield slice(q_start, q_end), slice(k_start, k_end), (1, q_end - q_start), (1, k_end - k_start)


def _is_whole(calls: list[_Call], rows: Tensor, keys: bool = False) -> bool:
    """Whether one call covers all rows, so that its result needs no buffer to be gathered in."""
    return len(calls) == 1 and calls[0][int(keys)] == slice(0, rows.shape[0])


def _heads_first(rows: Tensor, shape: tuple[int, int], num_heads: int) -> Tensor:
    """Rows [b * L, K, E] as [b, H, L, E]; key heads are repeated for their group."""
    found = rows.unflatten(0, shape).transpose(1, 2)
    if found.shape[1] != num_heads:
        return found.repeat_interleave(num_heads // found.shape[1], dim=1)
    # The fused kernel reads each head's numbers as neighbours in memory, and does not look whether they are.
    return found if found.stride(-1) == 1 else found.contiguous()


def _rules(
    bias_HLS: Tensor | None, seed: Tensor | None, causal: bool, window: int, scale: float, dropout: float
) -> Rules:
    return Rules(bias_HLS, causal, window, scale, dropout, None if seed is None else int(seed))


def _of_call(rules: Rules, call: int) -> Rules:
    """The rules with the seed of one call, so that no two calls drop the same weights."""
    return rules if rules.seed is None else replace(rules, seed=(rules.seed + call) % 2**63)


def _mixed(
    calls: list[_Call], q_THE: Tensor, k_SKE: Tensor, v_SKE: Tensor, rules: Rules
) -> tuple[Tensor, list[Tensor | None]]:
    """Attention [T, H, E], and of each call the log of its softmax denominators [b, H, L] where the backward needs it."""
    num_heads, denominators = q_THE.shape[1], []
    whole = _is_whole(calls, q_THE)
    out_THE = torch.empty(0) if whole else torch.zeros_like(q_THE, memory_format=torch.contiguous_format)
    for call, (q_rows, k_rows, q_shape, k_shape) in enumerate(calls):
        q_HLE = _heads_first(q_THE[q_rows], q_shape, num_heads)
        k_HLE, v_HLE = (_heads_first(x_SKE[k_rows], k_shape, num_heads) for x_SKE in (k_SKE, v_SKE))
        found_HLE, lse_HL = mix(q_HLE, k_HLE, v_HLE, _of_call(rules, call))
        denominators.append(lse_HL)
        rows = found_HLE.transpose(1, 2).flatten(0, 1)
        if whole:
            out_THE = rows.contiguous()
        else:
            out_THE[q_rows] = rows
    return out_THE, denominators


def _gradients(
    calls: list[_Call], denominators: Sequence[Tensor | None], grad_THE: Tensor, q_THE: Tensor, k_SKE: Tensor, v_SKE: Tensor,
    out_THE: Tensor, rules: Rules, learn_bias: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of queries, keys, values and the bias; keys that several sequences read gather the sum."""
    num_heads, num_groups = q_THE.shape[1], k_SKE.shape[1]
    whole = _is_whole(calls, q_THE) and _is_whole(calls, k_SKE, keys=True)
    grads: list[Tensor] = []
    if not whole:
        grads = [torch.zeros_like(x, memory_format=torch.contiguous_format) for x in (q_THE, k_SKE, v_SKE)]
    grad_bias = torch.zeros_like(rules.bias_HLS) if rules.bias_HLS is not None and learn_bias else q_THE.new_empty(0)
    for call, ((q_rows, k_rows, q_shape, k_shape), lse_HL) in enumerate(zip(calls, denominators, strict=True)):
        q_HLE, grad_HLE = (_heads_first(x_THE[q_rows], q_shape, num_heads) for x_THE in (q_THE, grad_THE))
        k_HLE, v_HLE = (_heads_first(x_SKE[k_rows], k_shape, num_heads) for x_SKE in (k_SKE, v_SKE))
        if lse_HL is not None and not learn_bias:
            out_HLE = _heads_first(out_THE[q_rows], q_shape, num_heads)
            found = fused_gradients(grad_HLE, q_HLE, k_HLE, v_HLE, out_HLE, lse_HL, rules)
        else:
            found, grad_logits = plain_gradients(grad_HLE, q_HLE, k_HLE, v_HLE, _of_call(rules, call))
            if learn_bias:
                masks.slice_bias(grad_bias, q_shape[1], k_shape[1]).add_(grad_logits.sum(0))
        by_row = [grad.transpose(1, 2).flatten(0, 1) for grad in found]
        if num_groups != num_heads:
            by_row[1:] = [grad.unflatten(1, (num_groups, num_heads // num_groups)).sum(2) for grad in by_row[1:]]
        if whole:
            grads = [grad.contiguous() for grad in by_row]
        else:
            for into, rows, grad in zip(grads, (q_rows, k_rows, k_rows), by_row, strict=True):
                into[rows] += grad
    return grads[0], grads[1], grads[2], grad_bias


def learned(q_THE: Tensor, k_SKE: Tensor, v_SKE: Tensor, q_bounds: Tensor, k_bounds: Tensor, *policy: Any) -> Tensor:
    """Attention [T, H, E] where nothing compiles and gradients are wanted."""
    calls = list(_calls(q_bounds, k_bounds, q_THE.shape[0]))
    bias_HLS, seed = policy[:2]
    plain = seed is None and (bias_HLS is None or not bias_HLS.requires_grad)
    if q_THE.is_cpu and plain and _is_whole(calls, q_THE) and _is_whole(calls, k_SKE, keys=True):
        (_, _, q_shape, k_shape), num_heads = calls[0], q_THE.shape[1]
        q_HLE = _heads_first(q_THE, q_shape, num_heads)
        k_HLE, v_HLE = (_heads_first(x_SKE, k_shape, num_heads) for x_SKE in (k_SKE, v_SKE))
        out_HLE, _ = mix(q_HLE, k_HLE, v_HLE, _rules(*policy))
        return out_HLE.transpose(1, 2).flatten(0, 1)
    return _Learned.apply(calls, q_THE, k_SKE, v_SKE, *policy)


class _Learned(torch.autograd.Function):
    """Several calls, with a backward of ours."""

    @staticmethod
    def forward(ctx: Any, calls: list[_Call], *inputs: Any) -> Tensor:
        """Tensors, bias, seed and rules to [T, H, E]."""
        q, k, v, bias, seed, *ctx.policy = inputs
        ctx.calls = calls
        out, denominators = _mixed(calls, q, k, v, _rules(bias, seed, *ctx.policy))
        ctx.save_for_backward(q, k, v, bias, seed, out, *denominators)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_THE: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of queries, keys, values and the bias."""
        q, k, v, bias, seed, out, *denominators = ctx.saved_tensors
        rules, learn_bias = _rules(bias, seed, *ctx.policy), bool(ctx.needs_input_grad[4])
        *grads, of_bias = _gradients(ctx.calls, denominators, grad_THE, q, k, v, out, rules, learn_bias)
        return None, *grads, of_bias if learn_bias else None, None, *(None for _ in ctx.policy)


def _attend(
    q_THE: Tensor, k_SKE: Tensor, v_SKE: Tensor, q_bounds: Tensor, k_bounds: Tensor, *policy: Any
) -> tuple[Tensor, Tensor]:
    """Attention [T, H, E], and the log of each query's softmax denominator [H, T] where the backward pass needs it."""
    calls = list(_calls(q_bounds, k_bounds, q_THE.shape[0]))
    out_THE, denominators = _mixed(calls, q_THE, k_SKE, v_SKE, _rules(*policy))
    lse_HT = q_THE.new_zeros(q_THE.shape[1], q_THE.shape[0], dtype=_wide(q_THE.dtype))
    for (q_rows, *_), lse_HL in zip(calls, denominators, strict=True):
        if lse_HL is not None:
            lse_HT[:, q_rows] = lse_HL.transpose(0, 1).flatten(1)
    return out_THE, lse_HT


def _attend_backward(
    grad_THE: Tensor, q_THE: Tensor, k_SKE: Tensor, v_SKE: Tensor, out_THE: Tensor, lse_HT: Tensor, q_bounds: Tensor,
    k_bounds: Tensor, *policy: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    *policy, learn_bias = policy  # type: ignore[assignment]
    rules, calls = _rules(*policy), list(_calls(q_bounds, k_bounds, q_THE.shape[0]))
    denominators: list[Tensor | None] = [None] * len(calls)
    if rules.seed is None and q_THE.device.type == "cpu":
        denominators = [lse_HT[:, rows].unflatten(1, shape).transpose(0, 1).contiguous() for rows, _, shape, _ in calls]
    return _gradients(calls, denominators, grad_THE, q_THE, k_SKE, v_SKE, out_THE, rules, learn_bias)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _forward_shapes(q_THE: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    out = torch.empty_like(q_THE, memory_format=torch.contiguous_format)
    return out, q_THE.new_empty(q_THE.shape[1], q_THE.shape[0], dtype=_wide(q_THE.dtype))


def _gradient_shapes(
    grad_THE: Tensor, q_THE: Tensor, k_SKE: Tensor, v_SKE: Tensor, out: Tensor, lse: Tensor, q_bounds: Tensor,
    k_bounds: Tensor, bias_HLS: Tensor | None, *policy: Any,
) -> tuple[Tensor, ...]:  # fmt: skip
    like = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q_THE, k_SKE, v_SKE)]
    return (*like, torch.empty_like(bias_HLS) if bias_HLS is not None and policy[-1] else q_THE.new_empty(0))


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.causal, ctx.window, ctx.scale, ctx.dropout = inputs
    ctx.save_for_backward(*tensors, *output)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, grad_THE: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    q, k, v, q_bounds, k_bounds, bias, seed, out, lse = ctx.saved_tensors
    learn_bias = bool(ctx.needs_input_grad[5])
    policy = (bias, seed, ctx.causal, ctx.window, ctx.scale, ctx.dropout, learn_bias)
    *grads, of_bias = torch.ops.anyformer.attend_backward(grad_THE, q, k, v, out, lse, q_bounds, k_bounds, *policy)
    return *grads, None, None, of_bias if learn_bias else None, None, None, None, None, None


_library = torch.library.Library("anyformer", "DEF")
_POLICY = "Tensor? bias, Tensor? seed, bool causal, int window, float scale, float dropout"
_library.define(
    f"attend(Tensor q, Tensor k, Tensor v, Tensor q_bounds, Tensor k_bounds, {_POLICY}) -> (Tensor out, Tensor lse)"
)
_library.define(
    "attend_backward(Tensor grad, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, "
    f"Tensor q_bounds, Tensor k_bounds, {_POLICY}, bool learn_bias) -> (Tensor q, Tensor k, Tensor v, Tensor bias)"
)
_library.impl("attend", _attend, "CompositeExplicitAutograd")
_library.impl("attend_backward", _attend_backward, "CompositeExplicitAutograd")
torch.library.register_fake("anyformer::attend", _forward_shapes, lib=_library)
torch.library.register_fake("anyformer::attend_backward", _gradient_shapes, lib=_library)
torch.library.register_autograd("anyformer::attend", _backward, setup_context=_save, lib=_library)
