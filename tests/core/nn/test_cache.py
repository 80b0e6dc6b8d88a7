"""Decoding through the cache, a few tokens at a time, against one causal pass over the whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from anyformer.nn import Cache, Memory, Pack, Stack, Stream, Trunk, build, config

WIDTH = 12
SOURCE = [4, 2, 6]
TARGET = [7, 9, 5]


@pytest.fixture
def trunk(unit_scale: Callable) -> Trunk:
    plain = {"width": WIDTH, "depth": 2, "attention": {"heads": 6, "key_value_heads": 3}}
    settings = config.Trunk.model_validate({"encoder": plain, "decoder": {**plain, "causal": True, "cross": True}})
    found = build.trunk(settings).double().eval()
    unit_scale(found)
    return found


def vectors(lengths: list[int], seed: int = 0) -> Tensor:
    return torch.randn(sum(lengths), WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def memory_of(trunk: Trunk) -> Memory:
    return Memory(trunk({"source": Stream(vectors(SOURCE), Pack.of(SOURCE))})["source"])


def step(decoder: Stack, new: list[Tensor], memory: Memory | None, cache: Cache) -> list[Tensor]:
    """Decode the next tokens of each current sequence."""
    pack = cache.pack([len(x) for x in new], torch.device("cpu"))
    return pack.split(decoder(Stream(torch.cat(new), pack), memory, cache).x_TD)


@torch.no_grad()
def test_decoding_equals_the_whole_pass(trunk: Trunk, relative: Callable) -> None:
    """Three prompts of different lengths, then token by token; each sequence leaves when it has ended."""
    memory = memory_of(trunk)
    tokens = Pack.of(TARGET).split(vectors(TARGET, 1))
    true = Pack.of(TARGET).split(trunk.decoder(Stream(torch.cat(tokens), Pack.of(TARGET)), memory).x_TD)

    cache = Cache(num_slots=3, length=max(TARGET))
    found = [
        [out] for out in step(trunk.decoder, [x[:n] for x, n in zip(tokens, [3, 1, 2], strict=True)], memory, cache)
    ]
    while len(cache.slots_B):
        going = [slot for slot in cache.slots_B.tolist() if cache.used_N[slot] < TARGET[slot]]
        cache.slots_B = torch.tensor(going, dtype=torch.int64)
        new = [tokens[slot][cache.used_N[slot]][None] for slot in going]
        for slot, out in zip(going, step(trunk.decoder, new, Memory(), cache) if going else [], strict=True):
            found[slot].append(out)
    assert cache.used_N.tolist() == TARGET
    assert relative(torch.cat([torch.cat(parts) for parts in found]), torch.cat(true)) <= 1e-9


@torch.no_grad()
def test_a_prompt_in_pieces_equals_one_piece(unit_scale: Callable, relative: Callable) -> None:
    """Several new tokens behind old ones: causal, with fewer queries than keys. The slots are taken in any order."""
    settings = config.Stack.model_validate({"width": WIDTH, "depth": 2, "causal": True, "attention": {"heads": 2}})
    decoder = build.stack(settings).double()
    unit_scale(decoder)
    tokens = Pack.of([6, 8]).split(vectors([6, 8]))
    true = decoder(Stream(torch.cat(tokens), Pack.of([6, 8]))).x_TD
    cache = Cache(num_slots=4, length=10, slots_B=torch.tensor([3, 1]))
    pieces = [
        step(decoder, list(new), None, cache)
        for new in zip(*(x.split([len(x) - 5, 3, 2]) for x in tokens), strict=True)
    ]
    found = torch.cat([torch.cat(parts) for parts in zip(*pieces, strict=True)])
    assert relative(found, true) <= 1e-9
    assert cache.used_N.tolist() == [0, 8, 0, 6]


@torch.no_grad()
def test_the_memory_is_projected_once(trunk: Trunk) -> None:
    memory, calls = memory_of(trunk), []
    for block in trunk.decoder.blocks:
        block.cross.key.register_forward_hook(lambda *_: calls.append("key"))
        block.cross.value.register_forward_hook(lambda *_: calls.append("value"))
    cache = Cache(num_slots=3, length=4)
    for reading in (memory, Memory(), Memory()):
        step(trunk.decoder, [vectors([1])] * 3, reading, cache)
    assert sorted(calls) == ["key", "key", "value", "value"]


@torch.no_grad()
def test_beams_read_one_memory(trunk: Trunk, relative: Callable) -> None:
    """Two beams of the first source and one of the last, against three memories of their own."""
    memory, reads = memory_of(trunk), [0, 0, 2]
    sources = Pack.of(SOURCE).split(memory.stream.x_TD)
    own = Memory(Stream(torch.cat([sources[i] for i in reads]), Pack.of([SOURCE[i] for i in reads])))
    stream = Stream(vectors(TARGET, 1), Pack.of(TARGET))
    shared = Memory(memory.stream, reads_B=torch.tensor(reads))
    assert relative(trunk.decoder(stream, shared).x_TD, trunk.decoder(stream, own).x_TD) <= 1e-12
    assert shared.bounds.tolist() == [[0, 4], [0, 4], [6, 12]]
    assert shared.offsets is None


def test_a_full_cache_is_a_mistake(trunk: Trunk) -> None:
    cache = Cache(num_slots=2, length=3)
    with pytest.raises(AssertionError, match="the cache is full"):
        step(trunk.decoder, [vectors([2]), vectors([4])], memory_of(trunk), cache)


def test_cross_attention_needs_a_memory(trunk: Trunk) -> None:
    with pytest.raises(AssertionError, match="cross-attention needs a memory"):
        trunk({"target": Stream(vectors(TARGET), Pack.of(TARGET))})
