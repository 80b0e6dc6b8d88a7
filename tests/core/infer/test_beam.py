"""Beam search against a search through everything, its rules of stopping, and slots that are copied as little as can be."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from anyformer.infer.beam import Beams
from anyformer.infer.draft import Draft, Request, settle
from anyformer.infer.options import Generation
from anyformer.nn import Cache, Pack

SIZE = 4
END = 3


def language(seed: int) -> dict[tuple[int, ...], list[float]]:
    """Log probabilities of the next id after every beginning of at most three ids."""
    rng = np.random.default_rng(seed)
    beginnings = [ids for length in range(4) for ids in product(range(SIZE), repeat=length)]
    return {ids: np.log(rng.dirichlet(np.ones(SIZE))).tolist() for ids in beginnings}


def search(said: dict[tuple[int, ...], list[float]], limit: int = 4, **options: Any) -> tuple[Beams, int]:
    """The search, ended, and the number of steps it took."""
    request = Request(prompt=np.array([0, 0]), ends=frozenset([END]), limit=limit)
    beams, steps = Beams(Draft(request, 0), Generation(**options)), 0
    while beams.drafts:
        rows = [said[tuple(draft.written)] for draft in beams.drafts]
        beams.step([sorted(zip(row, range(SIZE), strict=True), reverse=True) for row in rows])
        steps += 1
    return beams, steps


@pytest.mark.parametrize("power", [-0.5, 0.0, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(5))
def test_as_many_beams_as_texts_find_the_best(seed: int, power: float) -> None:
    said = language(seed)
    scores = {}
    for ids in said:
        for token in range(SIZE):
            if END not in ids and (token == END or len(ids) == 3):
                whole = (*ids, token)
                total = sum(said[whole[:at]][each] for at, each in enumerate(whole))
                scores[tuple(each for each in whole if each != END)] = total / len(whole) ** power
    best = sorted(scores, key=lambda ids: -scores[ids])[:5]
    values = search(said, num_beams=200, num_answers=5, length_penalty=power)[0].prediction().values
    found = np.split(values["answers"], np.cumsum(values["lengths"])[:-1])
    assert [tuple(ids) for ids in found] == best
    np.testing.assert_allclose(values["score"], [scores[ids] for ids in best])
    assert tuple(values["ids"]) == best[0]


def test_stopping() -> None:
    """Two answers have ended after two steps, and a beam goes on that may end better: whether it is waited for depends."""
    likely = {
        (): [-0.7, -9.0, -9.0, -0.8],  # the first answer: nothing
        (0,): [-0.7, -9.0, -9.0, -0.8],  # the second: 0
        (0, 0): [-9.0, -9.0, -9.0, -0.01],
    }
    said = {ids: likely.get(ids, [-5.0, -5.0, -5.0, -5.0]) for ids in language(0)}
    true = {
        (True, 0.0): (2, []),
        (False, 0.0): (3, []),  # the worse answer has -1.5, the beam -1.4 so far
        ("never", 0.0): (3, []),
        (True, 1.0): (2, [0]),
        (False, 1.0): (3, [0, 0]),
        ("never", 1.0): (3, [0, 0]),
        (False, 4.0): (3, [0, 0]),  # now the worse answer has -1.5 / 2**4, the best beam -10.4 / 3**4
        ("never", 4.0): (4, [0, 0]),  # ... but it would have -10.4 / 4**4 at best
    }
    for stop, power in true:
        found, steps = search(said, num_beams=2, early_stopping=stop, length_penalty=power)
        assert (steps, found.prediction().values["ids"].tolist()) == true[stop, power]


def test_continuations_beyond_the_beams_only_go_on() -> None:
    """An end that is not among the first `num_beams` continuations is no answer."""
    said = {ids: [-1.0, -1.1, -5.0, -1.2] for ids in language(0)}
    beams = Beams(Draft(Request(np.array([0]), frozenset([END]), 4), 7), Generation(num_beams=2))
    beams.step([sorted(zip(said[()], range(SIZE), strict=True), reverse=True)])
    assert [(draft.written, draft.score, draft.slot) for draft in beams.drafts] == [([0], -1.0, 7), ([1], -1.1, 7)]
    assert not beams.answers


def test_slots() -> None:
    """A draft keeps the slot it came from if it can; the others get copies, in slots that nobody reads."""
    request = Request(np.array([0]), frozenset(), 4)
    drafts = [Draft(request, slot) for slot in (5, 4, 5, 5)]
    copies = settle(drafts, range(4, 8))
    assert [draft.slot for draft in drafts][:2] == [5, 4]
    assert sorted(draft.slot for draft in drafts) == [4, 5, 6, 7]
    assert sorted(copies) == [(5, 6), (5, 7)]
    assert settle(drafts, range(4, 8)) == []


def filled(num_slots: int, length: int, used: list[int]) -> Cache:
    """A cache of one block, whose slots hold so many rows of numbers."""
    cache = Cache(num_slots, length)
    rows = torch.arange(sum(used), dtype=torch.float32)[:, None, None]
    cache.write(0, rows, -rows, Pack.of(used))
    cache.advance(Pack.of(used))
    return cache


def rows_of(cache: Cache, slot: int) -> list[list[float]]:
    begin = slot * cache.length
    return [slab[begin : begin + int(cache.used_N[slot])].flatten().tolist() for slab in cache.slabs[0]]


def test_the_cache_copies_used_rows() -> None:
    cache = filled(4, 5, [2, 0, 3, 1])
    untouched = cache.slabs[0][0].view(4, 5)[1, 3:].clone()
    cache.copy([(2, 1), (0, 3)])
    assert cache.used_N.tolist() == [2, 3, 3, 2]
    assert rows_of(cache, 1) == rows_of(cache, 2) == [[2.0, 3.0, 4.0], [-2.0, -3.0, -4.0]]
    assert rows_of(cache, 3) == rows_of(cache, 0) == [[0.0, 1.0], [-0.0, -1.0]]
    assert torch.equal(cache.slabs[0][0].view(4, 5)[1, 3:], untouched)
    with pytest.raises(AssertionError, match="both read and written"):
        cache.copy([(0, 1), (1, 2)])


def test_the_cache_grows() -> None:
    cache = filled(3, 3, [2, 3, 1])
    before = [rows_of(cache, slot) for slot in range(3)]
    cache.grow(7)
    assert [rows_of(cache, slot) for slot in range(3)] == before
    assert cache.slabs[0][0].shape == (21, 1, 1)
    with pytest.raises(AssertionError, match="slots only grow"):
        cache.grow(3)
