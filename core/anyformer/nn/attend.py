"""Scaled dot-product attention over packs: one opaque operator with its own backward.

Axis legend: T query tokens, S key tokens, B sequences, L length, H query heads, K key-value heads, E head width.

* Queries and keys each come with `bounds` [B, 2], first row and one past the last of each sequence. Query bounds are a
  pack's. Key bounds are a pack's as well, or point into a memory that several sequences read, or into a cache: whatever
  lies in rows can be read, without a copy.
* The operator is opaque to the compiler and lengths reach it as tensors, so a compiled trunk serves every pack.
* Four backends: a fused kernel by sequence (one call where all lengths are equal), PyTorch's variable-length kernel on CUDA
  in half precision, batched products for the answers of many short sequences (`anyformer.nn.short`), and, where dropout is
  asked for, plain products whose weights are computed again in the backward pass.
* Queries are aligned to the end of their keys: a causal query i of L sees the first S - L + i + 1 keys.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; FlashAttention: Dao 2023, https://arxiv.org/abs/2307.08691.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from anyformer.nn import operator, short
from anyformer.nn.kernels import Rules, masked


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
    if plain and not causal and not window and short.serves(q_THE, k_SKE, q_bounds, k_bounds):
        return short.mix(q_THE, k_SKE, v_SKE, len(q_THE) // len(q_bounds), scale)
    seed = torch.randint(2**62, (1,)) if dropout else None
    eager = torch.is_grad_enabled() and not torch.compiler.is_compiling()
    inputs = (q_THE, k_SKE, v_SKE, q_bounds, k_bounds, bias_HLS, seed, causal, window, scale, dropout)
    return operator.learned(*inputs) if eager else torch.ops.anyformer.attend(*inputs)[0]


def attention_maps(
    q_LHE: Float[Tensor, "L H E"], k_SKE: Float[Tensor, "S K E"], *, bias_HLS: Tensor | None = None,
    causal: bool = False, window: int = 0, scale: float | None = None,
) -> Float[Tensor, "H L S"]:  # fmt: skip
    """The attention weights of one sequence, computed plainly: for watching, not for speed."""
    num_heads, width = q_LHE.shape[1:]
    k_SHE = k_SKE.repeat_interleave(num_heads // k_SKE.shape[1], dim=1)
    logits = torch.einsum("lhe,she->hls", q_LHE, k_SHE) * (width**-0.5 if scale is None else scale)
    return masked(logits[None], Rules(bias_HLS, causal, window))[0].softmax(-1)


def _longest(bounds: Tensor) -> int:
    return int((bounds[:, 1] - bounds[:, 0]).max()) if len(bounds) else 0


def _fits_varlen(q_THE: Tensor) -> bool:
    return q_THE.is_cuda and q_THE.dtype in (torch.float16, torch.bfloat16) and q_THE.shape[-1] % 8 == 0
