"""Compiled code sees shapes and never lengths, so that a graph serves every pack."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from anyformer.nn import Pack, Stream, Trunk, build, config

LENGTHS = [
    [3, 5], [4, 4], [1, 2, 3], [6], [2, 2, 2, 2], [7, 1], [0, 4], [5, 5, 5], [9, 2, 4, 1, 3], [1, 1], [8, 3], [2, 7, 6],
]  # fmt: skip
WIDTH = 16


@pytest.fixture(autouse=True)
def fresh(unchecked: None) -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def trunk_of(**fields: object) -> Trunk:
    plain = {"width": WIDTH, "depth": 1, "attention": {"heads": 4, "key_value_heads": 2}, "causal": True}
    torch.manual_seed(0)
    return build.trunk(config.Trunk.model_validate({"encoder": plain, "decoder": {**plain, "cross": True, **fields}}))


def streams_of(lengths: list[int]) -> dict[str, Stream]:
    torch.manual_seed(len(lengths))
    source = Stream(torch.randn(sum(lengths), WIDTH), Pack.of(lengths))
    more = [length + 1 for length in lengths]
    return {"source": source, "target": Stream(torch.randn(sum(more), WIDTH), Pack.of(more))}


def test_twelve_packs_share_their_graphs(unit_scale: Callable, relative: Callable) -> None:
    trunk = trunk_of()
    unit_scale(trunk)
    compiled = torch.compile(trunk, backend="aot_eager", fullgraph=True)
    for lengths in LENGTHS:
        grads = []
        for run in (trunk, compiled):
            trunk.zero_grad()
            out = run(streams_of(lengths))["target"].x_TD
            (out * torch.linspace(-1, 1, WIDTH)).sum().backward()
            grads += [out.detach(), torch.cat([weight.grad.flatten() for weight in trunk.parameters()])]
        assert relative(grads[2], grads[0]) <= 1e-6
        assert relative(grads[3], grads[1]) <= 1e-5
    # One graph for the first shapes, one for all others, and one for a pack of a single sequence: to the compiler, a size
    # of one is a constant.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 3


def test_dropout_draws_anew_in_each_compiled_call() -> None:
    trunk = trunk_of(attention={"heads": 4, "dropout": 0.5})
    compiled = torch.compile(trunk, backend="aot_eager", fullgraph=True)
    streams = streams_of([3, 5])
    first, second = (compiled(streams)["target"].x_TD for _ in range(2))
    assert not torch.equal(first, second)
