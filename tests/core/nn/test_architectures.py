"""What PyTorch's own Transformer has not, against the formulas written out: one sequence, one head, one query at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from anyformer.nn import Memory, Pack, Stream, build, config
from anyformer.nn.attention import Attention
from anyformer.nn.trunk import Block

WIDTH = 12
LENGTHS, SPANS = [4, 1, 6], [3, 5, 2]

STACKS = {
    "grouped-query": {"attention": {"heads": 4, "key_value_heads": 2, "head_width": 6}, "causal": True},
    "multi-query": {"attention": {"heads": 6, "key_value_heads": 1}},
    "no biases": {"attention": {"heads": 3, "bias": False, "output_bias": False}, "feed_forward": {"bias": False}},
    "rotary": {"attention": {"heads": 2}, "position": {"kind": "rotary", "base": 100.0}},
    "rotary, one pair": {"attention": {"heads": 6}, "position": {"kind": "rotary"}, "causal": True},
    "SwiGLU": {"feed_forward": {"gated": True, "activation": "silu"}},
    "GeGLU": {"feed_forward": {"gated": True, "activation": "gelu", "width": 7}},
    "tanh GELU": {"feed_forward": {"activation": "gelu_tanh"}},
    "RMSNorm": {"norm": {"kind": "rms", "epsilon": 0.1}},
    "RMSNorm after": {"norm": {"kind": "rms", "place": "post", "final": True}},
    "LayerNorm without bias": {"norm": {"bias": False, "epsilon": 0.1}},
    "Llama": {
        "attention": {"heads": 4, "key_value_heads": 2, "head_width": 4, "bias": False, "output_bias": False},
        "causal": True, "position": {"kind": "rotary"}, "feed_forward": {"gated": True, "activation": "silu", "bias": False},
        "norm": {"kind": "rms"},
    },
    "a wider memory": {"cross": True, "memory_width": 10, "attention": {"heads": 4, "key_value_heads": 2}},
}  # fmt: skip


def stack_of(fields: dict) -> config.Stack:
    plain = {"width": WIDTH, "depth": 2, "attention": {"heads": 3}, "position": {"kind": "none"}}
    return config.Stack.model_validate({**plain, **fields})


@pytest.mark.parametrize("fields", STACKS.values(), ids=STACKS)
@pytest.mark.parametrize("placed", [False, True], ids=["", "positions to queries and keys"])
def test_stack_equals_the_formulas(fields: dict, placed: bool, unit_scale: Callable, relative: Callable) -> None:
    settings = stack_of(fields)
    stack = build.stack(settings).double()
    unit_scale(stack)
    torch.manual_seed(1)
    x_TD = torch.randn(sum(LENGTHS), WIDTH).double()
    m_SD = torch.randn(sum(SPANS), settings.memory_width or WIDTH).double()
    place_TD, place_SD = (torch.randn_like(x_TD), torch.randn_like(m_SD)) if placed else (0 * x_TD, 0 * m_SD)
    memory = Memory(Stream(m_SD, Pack.of(SPANS), place_SD if placed else None))
    found = stack(Stream(x_TD, Pack.of(LENGTHS), place_TD if placed else None), memory).x_TD
    true = []
    each = [*(v.split(LENGTHS) for v in (x_TD, place_TD)), *(v.split(SPANS) for v in (m_SD, place_SD))]
    for x, place, m, m_place in zip(*each, strict=True):
        for block in stack.blocks:
            x = _block(block, settings, x, place, m, m_place)
        true.append(x if stack.final_norm is None else _norm(stack.final_norm, settings.norm, x))
    assert relative(found, torch.cat(true)) <= 1e-12


def _block(block: Block, settings: config.Stack, x: Tensor, place: Tensor, m: Tensor, m_place: Tensor) -> Tensor:
    halves = [
        (
            block.attention_residual.norm,
            lambda y: _attend(block.attention, settings, y + place, y + place, y, settings.causal),
        ),
        (
            block.cross_residual and block.cross_residual.norm,
            lambda y: _attend(block.cross, settings, y + place, m + m_place, m, None),
        ),
        (block.feed_forward_residual.norm, lambda y: _feed_forward(block, settings.feed_forward, y)),
    ]
    for norm, half in halves:
        if norm is None:
            continue
        if settings.norm.place == "pre":
            x = x + half(_norm(norm, settings.norm, x))
        else:
            x = _norm(norm, settings.norm, x + half(x))
    return x


def _attend(layer: Attention, settings: config.Stack, q: Tensor, k: Tensor, v: Tensor, causal: bool | None) -> Tensor:
    """Attention by three loops; `causal` is None for cross-attention, which knows no positions."""
    width, heads = settings.head_width, settings.attention.heads
    per_key = heads // (settings.attention.key_value_heads or heads)
    base = settings.position.base if settings.position.kind == "rotary" and causal is not None else None
    queries, keys, values = layer.query(q), layer.key(k), layer.value(v)
    rows = []
    for i in range(len(q)):
        mixed = []
        for head in range(heads):
            of_query = slice(head * width, (head + 1) * width)
            of_key = slice(head // per_key * width, (head // per_key + 1) * width)
            query = _turned(queries[i, of_query], i, base)
            seen = range(i + 1 if causal else len(k))
            scores = [query.dot(_turned(keys[j, of_key], j, base)) / math.sqrt(width) for j in seen]
            shares = [score.exp() for score in scores]
            mixed.append(sum(share * values[j, of_key] for j, share in zip(seen, shares, strict=True)) / sum(shares))
        rows.append(torch.cat(mixed))
    return layer.output(torch.stack(rows))


def _turned(vector: Tensor, position: int, base: float | None) -> Tensor:
    """Rotary positions as Su et al. write them: pairs are complex numbers, turned by an angle."""
    if base is None:
        return vector
    half = len(vector) // 2
    angles = torch.tensor([position * base ** (-2 * i / len(vector)) for i in range(half)], dtype=torch.float64)
    pairs = torch.complex(vector[:half], vector[half:]) * torch.exp(1j * angles)
    return torch.cat([pairs.real, pairs.imag])


def _feed_forward(block: Block, settings: config.FeedForward, x: Tensor) -> Tensor:
    activate = {
        "silu": lambda y: y / (1 + torch.exp(-y)),
        "gelu": lambda y: y * (1 + torch.erf(y / math.sqrt(2))) / 2,
        "gelu_tanh": lambda y: y / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3))),
    }[settings.activation]
    layer = block.feed_forward
    assert (layer.gate is not None) == settings.gated
    return layer.down(activate(layer.gate(x)) * layer.up(x) if settings.gated else activate(layer.up(x)))


def _norm(layer: torch.nn.Module, settings: config.Norm, x: Tensor) -> Tensor:
    if settings.kind == "rms":
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + settings.epsilon) * layer.weight
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + settings.epsilon) * layer.weight
    assert (layer.bias is not None) == settings.bias
    return scaled + layer.bias if settings.bias else scaled
