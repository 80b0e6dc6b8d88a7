"""Scaled dot-product attention over packs: one opaque operator with its own backward.

Axis legend: T query tokens, S key tokens, B sequences, L length, H query heads, K key-value heads, E head width.

* Queries and keys each come with `bounds` [B, 2], first row and one past the last of each sequence. Query bounds are a
  pack's. Key bounds are a pack's as well, or point into a memory that several sequences read, or into a cache: whatever
  lies in rows can be read, without a copy.
* The operator is opaque to the compiler and lengths reach it as tensors, so a compiled trunk serves every pack.
* Three backends: a fused kernel by sequence (one call where all lengths are equal), PyTorch's variable-length kernel on CUDA
  in half precision, and, where dropout is asked for, plain products whose weights are computed again in the backward pass.
* Queries are aligned to the end of their keys: a causal query i of L sees the first S - L + i + 1 keys.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; FlashAttention: Dao 2023, https://arxiv.org/abs/2307.08691.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from anyformer.nn import masks

# One call: rows of the queries, rows of the keys, and the shape [b, L] of the queries and [b, S] of the keys in them.
_Call = tuple[slice, slice, tuple[int, int], tuple[int, int]]


def attend(
    q_THE: Float[Tensor, "T H E"],
    k_SKE: Float[Tensor, "S K E"],
    v_SKE: Float[Tensor, "S K E"],
    q_bounds: Int[Tensor, "B 2"],
    k_bounds: Int[Tensor, "B 2"],
    q_offsets: Int[Tensor, "B+1"] | None = None,
    k_offsets: Int[Tensor, "B+1"] | None = None,
    *,
    bias_HLS: Float[Tensor, "H longest_L longest_S"] | None = None,
    causal: bool = False,
    window: int = 0,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "T H E"]:
    """Attention of each sequence's queries over its keys.

    Args:
        q_THE: queries, end to end.
        k_SKE: keys, in rows; each key head serves H / K query heads.
        v_SKE: values, as the keys.
        q_bounds: rows of each sequence's queries, int64 on the host; they must cover `q_THE` in order.
        k_bounds: rows of each sequence's keys, int64 on the host; they may overlap or leave rows out.
        q_offsets: the same as cumulated lengths on the device, where the queries are a pack.
        k_offsets: as `q_offsets`, where the keys are a pack; without both, the variable-length kernel is not used.
        bias_HLS: added to the logits; for the longest sequence, the others take its last rows and columns.
        causal: hide the keys after each query.
        window: hide the keys `window` steps away and further; 0: none.
        scale: of the logits; default 1 / sqrt(E).
        dropout: on the attention weights; the mask is drawn from the default generator of the host.
    """
    scale = q_THE.shape[-1] ** -0.5 if scale is None else scale
    plain = bias_HLS is None and not dropout
    if q_offsets is not None and k_offsets is not None and plain and _fits_varlen(q_THE):
        from torch.nn.attention.varlen import varlen_attn

        return varlen_attn(  # type: ignore[return-value]
            q_THE, k_SKE, v_SKE, q_offsets, k_offsets, _longest(q_bounds), _longest(k_bounds),
            scale=scale, window_size=(window - 1, 0 if causal else window - 1), enable_gqa=k_SKE.shape[1] != q_THE.shape[1],
        )  # fmt: skip
    seed = torch.randint(2**62, (1,)) if dropout else None
    out, _ = torch.ops.anyformer.attend(
        q_THE, k_SKE, v_SKE, q_bounds, k_bounds, bias_HLS, seed, causal, window, scale, dropout
    )
    return out


def attention_maps(
    q_LHE: Float[Tensor, "L H E"], k_SKE: Float[Tensor, "S K E"], *, bias_HLS: Tensor | None = None,
    causal: bool = False, window: int = 0, scale: float | None = None,
) -> Float[Tensor, "H L S"]:  # fmt: skip
    """The attention weights of one sequence, computed plainly: for watching, not for speed."""
    num_heads, width = q_LHE.shape[1:]
    k_SHE = k_SKE.repeat_interleave(num_heads // k_SKE.shape[1], dim=1)
    logits = torch.einsum("lhe,she->hls", q_LHE, k_SHE) * (width**-0.5 if scale is None else scale)
    return _masked(logits[None], bias_HLS, causal, window)[0].softmax(-1)


def _longest(bounds: Tensor) -> int:
    return int((bounds[:, 1] - bounds[:, 0]).max()) if len(bounds) else 0


def _calls(q_bounds: Tensor, k_bounds: Tensor, q_rows: int) -> Iterator[_Call]:
    """The kernel calls that a pack needs: one where all sequences are alike and lie end to end, else one a sequence."""
    queries, keys = q_bounds.tolist(), k_bounds.tolist()
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


def _masked(logits_HLS: Tensor, bias_HLS: Tensor | None, causal: bool, window: int) -> Tensor:
    """Logits [b, H, L, S] with the bias added and what is not seen at minus infinity."""
    num_queries, num_keys = logits_HLS.shape[-2:]
    is_causal, mask = masks.additive(num_queries, num_keys, causal, window, bias_HLS, logits_HLS)
    if is_causal:
        return logits_HLS.masked_fill(~masks.sees(num_queries, num_keys, True, 0, logits_HLS.device), float("-inf"))
    return logits_HLS if mask is None else logits_HLS + mask


def _fits_varlen(q_THE: Tensor) -> bool:
    return q_THE.is_cuda and q_THE.dtype in (torch.float16, torch.bfloat16) and q_THE.shape[-1] % 8 == 0


def _dropped_weights(
    q_HLE: Tensor, k_HLE: Tensor, bias_HLS: Tensor | None, causal: bool, window: int, scale: float, dropout: float,
    seed: Tensor | None, call: int,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Attention weights [b, H, L, S], and the factors (0 or 1 / (1 - dropout)) that `seed` draws for this call."""
    logits = torch.matmul(q_HLE, k_HLE.transpose(-1, -2)) * scale
    weights = _masked(logits, bias_HLS, causal, window).softmax(-1)
    if seed is None:
        return weights, None
    generator = torch.Generator(weights.device).manual_seed((int(seed) + call) % 2**63)
    kept = torch.rand(weights.shape, generator=generator, device=weights.device) >= dropout
    return weights, kept.to(weights.dtype) / (1 - dropout)


_library = torch.library.Library("anyformer", "DEF")
_POLICY = "Tensor? bias, Tensor? seed, bool causal, int window, float scale, float dropout"
_library.define(
    f"attend(Tensor q, Tensor k, Tensor v, Tensor q_bounds, Tensor k_bounds, {_POLICY}) -> (Tensor out, Tensor lse)"
)
_library.define(
    "attend_backward(Tensor grad, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, "
    f"Tensor q_bounds, Tensor k_bounds, {_POLICY}, bool learn_bias) -> (Tensor q, Tensor k, Tensor v, Tensor bias)"
)


def _forward(
    q_THE: Tensor,
    k_SKE: Tensor,
    v_SKE: Tensor,
    q_bounds: Tensor,
    k_bounds: Tensor,
    bias_HLS: Tensor | None,
    seed: Tensor | None,
    causal: bool,
    window: int,
    scale: float,
    dropout: float,
) -> tuple[Tensor, Tensor]:
    """Attention [T, H, E], and the log of each query's softmax denominator [H, T] where the backward pass needs it."""
    num_heads = q_THE.shape[1]
    calls = list(_calls(q_bounds, k_bounds, q_THE.shape[0]))
    whole = _is_whole(calls, q_THE)
    out_THE = torch.empty(0) if whole else torch.zeros_like(q_THE, memory_format=torch.contiguous_format)
    lse_HT = q_THE.new_zeros(num_heads, q_THE.shape[0], dtype=_wide(q_THE.dtype))
    for call, (q_rows, k_rows, q_shape, k_shape) in enumerate(calls):
        q_HLE = _heads_first(q_THE[q_rows], q_shape, num_heads)
        k_HLE = _heads_first(k_SKE[k_rows], k_shape, num_heads)
        v_HLE = _heads_first(v_SKE[k_rows], k_shape, num_heads)
        is_causal, mask = masks.additive(q_shape[1], k_shape[1], causal, window, bias_HLS, q_HLE)
        if seed is not None:
            weights, factors = _dropped_weights(q_HLE, k_HLE, bias_HLS, causal, window, scale, dropout, seed, call)
            assert factors is not None
            found = torch.matmul(weights * factors, v_HLE)
        elif q_THE.device.type == "cpu":
            found, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                q_HLE, k_HLE, v_HLE, 0.0, is_causal, attn_mask=mask, scale=scale
            )
            lse_HT[:, q_rows] = lse.transpose(0, 1).flatten(1)
        else:
            found = F.scaled_dot_product_attention(q_HLE, k_HLE, v_HLE, mask, 0.0, is_causal, scale=scale)
        rows = found.transpose(1, 2).flatten(0, 1)
        if whole:
            out_THE = rows.contiguous()
        else:
            out_THE[q_rows] = rows
    return out_THE, lse_HT


def _gradients(
    grad_THE: Tensor,
    q_THE: Tensor,
    k_SKE: Tensor,
    v_SKE: Tensor,
    out_THE: Tensor,
    lse_HT: Tensor,
    q_bounds: Tensor,
    k_bounds: Tensor,
    bias_HLS: Tensor | None,
    seed: Tensor | None,
    causal: bool,
    window: int,
    scale: float,
    dropout: float,
    learn_bias: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of queries, keys, values and the bias; keys that several sequences read gather the sum."""
    num_heads, num_groups = q_THE.shape[1], k_SKE.shape[1]
    calls = list(_calls(q_bounds, k_bounds, q_THE.shape[0]))
    whole = _is_whole(calls, q_THE) and _is_whole(calls, k_SKE, keys=True)
    grads: list[Tensor] = []
    grad_bias = torch.zeros_like(bias_HLS) if bias_HLS is not None and learn_bias else q_THE.new_empty(0)
    if not whole:
        grads = [torch.zeros_like(x, memory_format=torch.contiguous_format) for x in (q_THE, k_SKE, v_SKE)]
    for call, (q_rows, k_rows, q_shape, k_shape) in enumerate(calls):
        q_HLE = _heads_first(q_THE[q_rows], q_shape, num_heads)
        k_HLE = _heads_first(k_SKE[k_rows], k_shape, num_heads)
        v_HLE = _heads_first(v_SKE[k_rows], k_shape, num_heads)
        grad_HLE = _heads_first(grad_THE[q_rows], q_shape, num_heads)
        if seed is None and not learn_bias and q_THE.device.type == "cpu":
            is_causal, mask = masks.additive(q_shape[1], k_shape[1], causal, window, bias_HLS, q_HLE)
            found = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                grad_HLE, q_HLE, k_HLE, v_HLE, _heads_first(out_THE[q_rows], q_shape, num_heads),
                lse_HT[:, q_rows].unflatten(1, q_shape).transpose(0, 1).contiguous(),
                0.0, is_causal, attn_mask=mask, scale=scale,
            )  # fmt: skip
        else:
            weights, factors = _dropped_weights(q_HLE, k_HLE, bias_HLS, causal, window, scale, dropout, seed, call)
            kept = weights if factors is None else weights * factors
            grad_weights = torch.matmul(grad_HLE, v_HLE.transpose(-1, -2))
            if factors is not None:
                grad_weights = grad_weights * factors
            grad_logits = weights * (grad_weights - (weights * grad_weights).sum(-1, keepdim=True))
            if learn_bias:
                masks.slice_bias(grad_bias, q_shape[1], k_shape[1]).add_(grad_logits.sum(0))
            grad_logits = grad_logits * scale
            found = (
                torch.matmul(grad_logits, k_HLE),
                torch.matmul(grad_logits.transpose(-1, -2), q_HLE),
                torch.matmul(kept.transpose(-1, -2), grad_HLE),
            )
        by_row = [grad.transpose(1, 2).flatten(0, 1) for grad in found]
        if num_groups != num_heads:
            by_row[1:] = [grad.unflatten(1, (num_groups, num_heads // num_groups)).sum(2) for grad in by_row[1:]]
        if whole:
            grads = [grad.contiguous() for grad in by_row]
        else:
            for into, rows, grad in zip(grads, (q_rows, k_rows, k_rows), by_row, strict=True):
                into[rows] += grad
    return grads[0], grads[1], grads[2], grad_bias


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
    learn_bias = bias_HLS is not None and policy[-1]
    return (*like, torch.empty_like(bias_HLS) if learn_bias else q_THE.new_empty(0))


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.causal, ctx.window, ctx.scale, ctx.dropout = inputs
    ctx.save_for_backward(*tensors, *output)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, grad_THE: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    q, k, v, q_bounds, k_bounds, bias, seed, out, lse = ctx.saved_tensors
    learn_bias = bool(ctx.needs_input_grad[5])
    policy = (bias, seed, ctx.causal, ctx.window, ctx.scale, ctx.dropout, learn_bias)
    *grads, grad_bias = torch.ops.anyformer.attend_backward(grad_THE, q, k, v, out, lse, q_bounds, k_bounds, *policy)
    return (*grads, None, None, grad_bias if learn_bias else None, None, None, None, None, None)


# Registered one by one: the decorator `custom_op` wraps every call in the compiler's guard and imports the compiler.
_library.impl("attend", _forward, "CompositeExplicitAutograd")
_library.impl("attend_backward", _gradients, "CompositeExplicitAutograd")
torch.library.register_fake("anyformer::attend", _forward_shapes, lib=_library)
torch.library.register_fake("anyformer::attend_backward", _gradient_shapes, lib=_library)
torch.library.register_autograd("anyformer::attend", _backward, setup_context=_save, lib=_library)
