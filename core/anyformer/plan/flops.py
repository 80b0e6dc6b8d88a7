"""Arithmetic of training: floating-point operations that a trunk needs for a token, forward and backward.

Axis legend: D width, H query heads, K key-value heads, E head width, F feed-forward width, L queries, S keys.

* Matrix products are counted and nothing else, a multiply and an add as two operations. The backward pass is two products
  for each of the forward pass, so training is three times the forward pass.
* A weight of a linear layer costs 6 operations a token, and attention 12 H E S a token and block, a causal mask not
  subtracted: what "model FLOPs utilisation" is counted with (Chowdhery et al. 2022, https://arxiv.org/abs/2204.02311,
  appendix B). A window is subtracted, because no kernel has to compute what lies outside it.
* What is computed again (activation checkpointing), left out (frozen weights) or spent on norms, softmax and the optimizer
  does not change the count.
"""

from __future__ import annotations

from collections.abc import Mapping

from anyformer.nn.config import Stack, Trunk

TRAINING = 3
"""Products of a training step for each of its forward pass."""


def flops_per_token(trunk: Trunk, length: int) -> float:
    """Operations of the trunk for one token in training, where each stream of a sample is `length` tokens long.

    Raises `ValueError` for a length below 1. Embedding and head are not in it (`plan.counted` has them); a language model's
    head adds 6 times its weights for each token that it predicts.
    """
    if length < 1:
        raise ValueError(f"length is {length}; a sequence has 1 token or more")
    lengths = dict.fromkeys(trunk.stacks, length)
    return TRAINING * forward_flops(trunk, lengths) / sum(lengths.values())


def forward_flops(trunk: Trunk, lengths: Mapping[str, int]) -> int:
    """Operations of one forward pass over one sample, whose streams (`source`, `target`) have these lengths in tokens."""
    total = 0
    for name, stack in trunk.stacks.items():
        length = lengths[name]
        keys = seen(length, stack.causal, stack.attention.window)
        block = 2 * length * _linear_weights(stack) + attention(length, keys, _query_width(stack))
        if stack.cross:
            memory = trunk.encoder
            assert memory is not None, "a trunk whose decoder crosses has an encoder"
            block += _cross(stack, memory.width, length, lengths["source"])
        total += stack.depth * block
    return total


def _linear_weights(stack: Stack) -> int:
    """Weights of the matrices of a block that each token is multiplied with, without cross-attention."""
    of = stack.attention
    heads = of.heads + (of.key_value_heads or of.heads)  # queries and output; keys and values
    return 2 * stack.width * heads * stack.head_width + stack.width * stack.inner_width * (
        3 if stack.feed_forward.gated else 2
    )


def seen(length: int, causal: bool, window: int | None) -> int:
    """Keys of `length` that a query sees at most; a causal mask alone hides none here, as the formula has it."""
    return min(length, length if not window else window if causal else 2 * window - 1)


def attention(num_queries: int, num_keys: int, width: int) -> int:
    """Logits and the mix of values: two products of L, S and all heads' widths."""
    return 4 * num_queries * num_keys * width


def _cross(stack: Stack, memory_width: int, num_queries: int, num_keys: int) -> int:
    """Cross-attention: queries and output from the stream, keys and values from the memory."""
    of = stack.attention
    own = 2 * stack.width * _query_width(stack)
    other = 2 * memory_width * (of.key_value_heads or of.heads) * stack.head_width
    return 2 * (num_queries * own + num_keys * other) + attention(num_queries, num_keys, _query_width(stack))


def _query_width(stack: Stack) -> int:
    """H E: width of all queries of a token."""
    return stack.attention.heads * stack.head_width
