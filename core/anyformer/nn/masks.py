"""What a query may see, and what is added to its logits: masks and biases of one sequence.

Axis legend: L queries, S keys, H heads.

* Queries are aligned to the end of their keys, in masks and in biases alike: the last query stands at the last key.
* A bias is built once a pass for the longest sequence and sliced from its end. That is right because it depends on the
  distance between query and key alone (ALiBi: Press et al. 2022; relative buckets: Raffel et al. 2020).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sees(num_queries: int, num_keys: int, causal: bool, window: int, device: torch.device) -> Tensor:
    """Which keys a query sees, bool [L, S]. `window` > 0: only keys less than `window` steps away."""
    assert not causal or num_queries <= num_keys, "a causal query needs a key of its own"
    shift = num_keys - num_queries
    seen = torch.ones(num_queries, num_keys, dtype=torch.bool, device=device)
    if causal:
        seen = seen.tril(shift)
    if window:
        seen = seen.triu(shift - window + 1)
        if not causal:
            seen = seen.tril(shift + window - 1)
    return seen


def additive(
    num_queries: int, num_keys: int, causal: bool, window: int, bias: Tensor | None, like: Tensor
) -> tuple[bool, Tensor | None]:
    """Whether a kernel's own causal mask serves, and the mask to add [L, S] or [1, H, L, S] where it does not."""
    hides = (causal and num_queries > 1) or (window and window < num_keys)
    if bias is None and not hides:
        return False, None
    if bias is None and causal and num_queries == num_keys and not (window and window < num_keys):
        return True, None
    mask = like.new_zeros(num_queries, num_keys)
    if bias is not None:
        mask = slice_bias(bias, num_queries, num_keys).to(like.dtype)[None]
    if hides:
        mask = mask.masked_fill(~sees(num_queries, num_keys, causal, window, like.device), float("-inf"))
    return False, mask


def slice_bias(bias_HLS: Tensor, num_queries: int, num_keys: int) -> Tensor:
    """The bias of a sequence [H, L, S], from the bias of the longest: its last rows and columns."""
    longest_L, longest_S = bias_HLS.shape[1:]
    assert num_queries <= longest_L, "the bias covers the longest sequence"
    assert num_keys <= longest_S, "the bias covers the longest sequence"
    return bias_HLS[:, longest_L - num_queries :, longest_S - num_keys :]


def distances(num_queries: int, num_keys: int, device: torch.device) -> Tensor:
    """Position of the key minus that of the query, int64 [L, S]."""
    queries = torch.arange(num_keys - num_queries, num_keys, device=device)
    return torch.arange(num_keys, device=device) - queries[:, None]


def alibi(num_heads: int, num_queries: int, num_keys: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Linear biases [H, L, S]: minus the distance times a slope for each head (Press et al. 2022, arXiv 2108.12409)."""
    slopes = torch.tensor(_slopes(num_heads), dtype=dtype, device=device)
    return -slopes[:, None, None] * distances(num_queries, num_keys, device).abs().to(dtype)


def _slopes(num_heads: int) -> list[float]:
    """A geometric sequence; for a number of heads that is no power of two, filled up from the next finer one."""
    whole = 2 ** math.floor(math.log2(num_heads))
    slopes = [2 ** (-8 * (head + 1) / whole) for head in range(whole)]
    finer = [2 ** (-8 * (head + 1) / (2 * whole)) for head in range(2 * whole)]
    return slopes + finer[::2][: num_heads - whole]


def buckets(distance_LS: Tensor, num_buckets: int, furthest: int, causal: bool) -> Tensor:
    """The bucket of each distance, int64 [L, S]: exact when near, logarithmic when far (Raffel et al. 2020).

    A bidirectional stack spends half of its buckets on keys after the query, a causal one has none of them.
    """
    if causal:
        offset = torch.zeros_like(distance_LS)
        away = (-distance_LS).clamp(min=0)
    else:
        num_buckets //= 2
        offset = (distance_LS > 0).long() * num_buckets
        away = distance_LS.abs()
    exact = num_buckets // 2
    far = torch.log(away.float().clamp(min=1) / exact) / math.log(furthest / exact) * (num_buckets - exact)
    return offset + torch.where(away < exact, away, (exact + far.long()).clamp(max=num_buckets - 1))
