from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from anyformer.nn import Cache, Pack, Stream, build, config

WIDTH, LENGTHS = 8, [3, 1, 5]


def stack_of(**fields: object) -> config.Stack:
    return config.Stack.model_validate({"width": WIDTH, "depth": 2, "attention": {"heads": 2}, **fields})


def stream_of(lengths: list[int] = LENGTHS) -> Stream:
    return Stream(torch.randn(sum(lengths), WIDTH, generator=torch.Generator().manual_seed(0)), Pack.of(lengths))


@pytest.mark.parametrize("causal", [False, True])
def test_watch_gets_each_map_and_nothing_keeps_it(causal: bool, unit_scale: Callable, relative: Callable) -> None:
    stack = build.stack(
        stack_of(causal=causal, position={"kind": "none"}, attention={"heads": 2, "key_value_heads": 1})
    )
    unit_scale(stack)
    stream, places, alive, first = stream_of(), [], [], {}

    def watch(layer: int, sequence: int, maps_HLS: Tensor) -> None:
        places.append((layer, sequence))
        alive.append(weakref.ref(maps_HLS))
        assert relative(maps_HLS.sum(-1), torch.ones(2, LENGTHS[sequence])) <= 1e-6
        assert not maps_HLS.requires_grad
        if layer == 0:
            first[sequence] = maps_HLS.clone()

    plain = stack(stream).x_TD
    assert torch.equal(stack(stream, watch=watch).x_TD, plain)
    assert places == [(layer, sequence) for layer in range(2) for sequence in range(3)]
    gc.collect()
    assert not any(found() for found in alive)

    block = stack.blocks[0]
    normed = block.attention_residual.norm(stream.x_TD)
    queries, keys = block.attention.query(normed).split(LENGTHS), block.attention.key(normed).split(LENGTHS)
    for sequence, length in enumerate(LENGTHS):
        for head in range(2):
            logits = queries[sequence][:, head * 4 : head * 4 + 4] @ keys[sequence].T / 2
            hidden = torch.ones(length, length, dtype=torch.bool).triu(1) & causal
            assert relative(first[sequence][head], logits.masked_fill(hidden, float("-inf")).softmax(-1)) <= 1e-5


@torch.no_grad()
def test_watch_sees_the_cache() -> None:
    stack = build.stack(stack_of(causal=True))
    cache, shapes = Cache(num_slots=2, length=6), []
    for lengths in ([3, 1], [1, 1]):
        pack = cache.pack(lengths, torch.device("cpu"))
        stack(
            Stream(torch.randn(sum(lengths), WIDTH), pack),
            cache=cache,
            watch=lambda *a: shapes.append(tuple(a[2].shape)),
        )
    assert shapes == [(2, 3, 3), (2, 1, 1)] * 2 + [(2, 1, 4), (2, 1, 2)] * 2


def test_no_sequence_sees_another(unit_scale: Callable) -> None:
    stack = build.stack(stack_of())
    unit_scale(stack)
    stream = stream_of()
    x_TD = stream.x_TD.clone().requires_grad_()
    out = stack(Stream(x_TD, stream.pack)).x_TD
    out[stream.pack.sequence_T == 2].sum().backward()
    assert x_TD.grad[stream.pack.sequence_T == 2].all()
    assert not x_TD.grad[stream.pack.sequence_T != 2].any()


@pytest.mark.parametrize("kind", ["rotary", "none"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_autocast_computes_in_half_and_learns_in_full(
    kind: str, dropout: float, unit_scale: Callable, relative: Callable
) -> None:
    attention = {"heads": 2, "key_value_heads": 1, "dropout": dropout}
    stack = build.stack(stack_of(position={"kind": kind}, attention=attention))
    unit_scale(stack)
    stream, outs = stream_of(), []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            outs.append(stack(stream).x_TD)
    assert not torch.equal(*outs)
    assert relative(outs[1], outs[0]) < 0.05
    outs[1].float().square().sum().backward()
    assert all(weight.grad.dtype == torch.float32 and weight.grad.isfinite().all() for weight in stack.parameters())
