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

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anyformer.nn.config import Stack, Trunk

if TYPE_CHECKING:
    from anyformer.nn import Head
    from anyformer.task import Objective, Sample, Task

TRAINING = 3
"""Products of a training step for each of its forward pass."""
SAMPLED = 32
"""Records whose lengths stand for all of a run's."""


def flops_per_token(trunk: Trunk, length: int) -> float:
    """Operations of the trunk for one token in training, where each stream of a sample is `length` tokens long.

    Raises `ValueError` for a length below 1. Embedding and head are not in it; a language model's head adds 6 times its
    weights for each token that it predicts.
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
        block = 2 * length * _linear_weights(stack) + _attention(stack, length, _seen(stack, length))
        if stack.cross:
            memory = trunk.encoder
            assert memory is not None, "a trunk whose decoder crosses has an encoder"
            block += _cross(stack, memory.width, length, lengths["source"])
        total += stack.depth * block
    return total


def run_flops_per_token(
    trunk: Trunk, bound: Task[Any, Any, Any] | Objective, records: Sequence[Any], head: Head, seed: int = 0
) -> float:
    """Operations for one token in training as a run counts tokens, over records spread evenly through its data.

    The head's matrices are counted once for each target that it weighs, but not more than once a token: the vocabulary
    of masked-token training at the masked tokens, a classifier once a sequence.
    """
    from anyformer.data.packs import collate

    spread = np.unique(np.linspace(0, len(records) - 1, min(SAMPLED, len(records))).astype(int)).tolist()
    rng = np.random.default_rng(seed)
    samples = [sample for index in spread for sample in bound.learn(records[index], rng)]
    tokens = sum(sample.cost for sample in samples)
    if not tokens:
        return 0.0
    weighed = max(float(weight) for weight in head.weigh(collate(samples)[1]).values())
    matrices = sum(weight.numel() for weight in head.parameters() if weight.ndim > 1)
    forward = sum(forward_flops(trunk, _lengths(trunk, sample)) for sample in samples)
    return TRAINING * (forward + 2 * matrices * min(weighed, tokens)) / tokens


def _lengths(trunk: Trunk, sample: Sample) -> dict[str, int]:
    """Tokens of a sample's streams; a single stream has all that the sample says it costs."""
    if len(trunk.stacks) == 1:
        return dict.fromkeys(trunk.stacks, sample.cost)
    return {name: len(sample.parts[name]) if name in sample.parts else sample.cost for name in trunk.stacks}


def _linear_weights(stack: Stack) -> int:
    """Weights of the matrices of a block that each token is multiplied with, without cross-attention."""
    of = stack.attention
    heads = of.heads + (of.key_value_heads or of.heads)  # queries and output; keys and values
    return 2 * stack.width * heads * stack.head_width + stack.width * stack.inner_width * (
        3 if stack.feed_forward.gated else 2
    )


def _attention(stack: Stack, num_queries: int, num_keys: int) -> int:
    """Logits and the mix of values: two products of L, S and E for each head."""
    return 4 * num_queries * num_keys * stack.attention.heads * stack.head_width


def _seen(stack: Stack, length: int) -> int:
    """Keys that a query sees at most."""
    window = stack.attention.window
    if window is None:
        return length
    return min(length, window if stack.causal else 2 * window - 1)


def _cross(stack: Stack, memory_width: int, num_queries: int, num_keys: int) -> int:
    """Cross-attention: queries and output from the stream, keys and values from the memory."""
    of = stack.attention
    own = 2 * stack.width * of.heads * stack.head_width
    other = 2 * memory_width * (of.key_value_heads or of.heads) * stack.head_width
    return 2 * (num_queries * own + num_keys * other) + _attention(stack, num_queries, num_keys)
