"""Attention of sequences that are alike, as one call: forward and backward.

Axis legend: b sequences of one call, H heads, L queries, S keys, E head width.

* On the CPU the fused kernel is called by its own name, because its backward wants the log of the softmax denominators.
* Where weights are dropped out or a bias is learned, plain products serve; the backward pass computes the weights again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from anyformer.nn import masks


@dataclass(frozen=True, eq=False)
class Rules:
    """What shapes the weights."""

    bias_HLS: Tensor | None = None
    """Added to the logits; of the longest sequence."""
    causal: bool = False
    window: int = 0
    scale: float = 1.0
    dropout: float = 0.0
    seed: int | None = None
    """Of the dropout; None: nothing is dropped."""


def mix(q_HLE: Tensor, k_HLE: Tensor, v_HLE: Tensor, rules: Rules) -> tuple[Tensor, Tensor | None]:
    """Attention [b, H, L, E], and where the fused kernel ran, the log of the softmax denominators [b, H, L]."""
    if rules.seed is not None:
        weights, factors = _weights(q_HLE, k_HLE, rules)
        assert factors is not None
        return torch.matmul(weights * factors, v_HLE), None
    is_causal, mask = _additive(q_HLE, k_HLE, rules)
    return fused(q_HLE, k_HLE, v_HLE, is_causal, mask, rules.scale)


def fused(
    q_HLE: Tensor, k_HLE: Tensor, v_HLE: Tensor, is_causal: bool, mask: Tensor | None, scale: float
) -> tuple[Tensor, Tensor | None]:
    """The device's fused kernel: as `mix`; the mask, [L, S] or [b or 1, H or 1, L, S], is added to the logits."""
    if q_HLE.device.type == "cpu":
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q_HLE, k_HLE, v_HLE, 0.0, is_causal, attn_mask=mask, scale=scale
        )
    return F.scaled_dot_product_attention(q_HLE, k_HLE, v_HLE, mask, 0.0, is_causal, scale=scale), None


def fused_gradients(
    grad_HLE: Tensor, q_HLE: Tensor, k_HLE: Tensor, v_HLE: Tensor, out_HLE: Tensor, lse_HL: Tensor, rules: Rules
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of queries, keys and values by the fused kernel of the CPU."""
    is_causal, mask = _additive(q_HLE, k_HLE, rules)
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        grad_HLE, q_HLE, k_HLE, v_HLE, out_HLE, lse_HL, 0.0, is_causal, attn_mask=mask, scale=rules.scale
    )


def plain_gradients(
    grad_HLE: Tensor, q_HLE: Tensor, k_HLE: Tensor, v_HLE: Tensor, rules: Rules
) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Gradients of queries, keys and values, and of the masked logits [b, H, L, S]."""
    weights, factors = _weights(q_HLE, k_HLE, rules)
    grad_weights = torch.matmul(grad_HLE, v_HLE.transpose(-1, -2))
    kept = weights
    if factors is not None:
        grad_weights, kept = grad_weights * factors, weights * factors
    grad_logits = weights * (grad_weights - (weights * grad_weights).sum(-1, keepdim=True))
    grad_products = grad_logits * rules.scale
    found = (
        torch.matmul(grad_products, k_HLE),
        torch.matmul(grad_products.transpose(-1, -2), q_HLE),
        torch.matmul(kept.transpose(-1, -2), grad_HLE),
    )
    return found, grad_logits


def masked(logits_HLS: Tensor, rules: Rules) -> Tensor:
    """Logits [b, H, L, S] with the bias added and what is not seen at minus infinity."""
    num_queries, num_keys = logits_HLS.shape[-2:]
    is_causal, mask = masks.additive(num_queries, num_keys, rules.causal, rules.window, rules.bias_HLS, logits_HLS)
    if is_causal:
        return logits_HLS.masked_fill(~masks.sees(num_queries, num_keys, True, 0, logits_HLS.device), float("-inf"))
    return logits_HLS if mask is None else logits_HLS + mask


def _additive(q_HLE: Tensor, k_HLE: Tensor, rules: Rules) -> tuple[bool, Tensor | None]:
    return masks.additive(q_HLE.shape[2], k_HLE.shape[2], rules.causal, rules.window, rules.bias_HLS, q_HLE)


def _weights(q_HLE: Tensor, k_HLE: Tensor, rules: Rules) -> tuple[Tensor, Tensor | None]:
    """Attention weights [b, H, L, S], and the factors (0 or 1 / (1 - dropout)) that the seed draws."""
    logits = torch.matmul(q_HLE, k_HLE.transpose(-1, -2)) * rules.scale
    weights = masked(logits, rules).softmax(-1)
    if rules.seed is None:
        return weights, None
    generator = torch.Generator(weights.device).manual_seed(rules.seed)
    kept = torch.rand(weights.shape, generator=generator, device=weights.device) >= rules.dropout
    return weights, kept.to(weights.dtype) / (1 - rules.dropout)
