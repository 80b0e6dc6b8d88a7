from __future__ import annotations

import pytest
import torch

from anyformer.nn import Pack


def test_a_pack_describes_its_sequences() -> None:
    pack = Pack.of([2, 0, 3])
    assert (pack.num_sequences, pack.num_tokens, pack.longest, pack.furthest) == (3, 5, 3, 3)
    assert pack.bounds.tolist() == [[0, 2], [2, 2], [2, 5]]
    assert pack.offsets.tolist() == [0, 2, 2, 5]
    assert pack.offsets.dtype == torch.int32
    assert pack.positions.tolist() == [0, 1, 0, 1, 2]
    assert pack.lengths == pack.counts_B.tolist() == [2, 0, 3]
    assert pack.sequence_T.tolist() == [0, 0, 2, 2, 2]
    assert [part.tolist() for part in pack.split(torch.arange(5))] == [[0, 1], [], [2, 3, 4]]


def test_first_and_last_tokens() -> None:
    pack = Pack.of([2, 1, 3])
    assert pack.first_B.tolist() == [0, 2, 3]
    assert pack.last_B.tolist() == [1, 2, 5]


def test_positions_go_on_from_starts() -> None:
    pack = Pack.of([2, 1], starts=torch.tensor([5, 0]))
    assert pack.positions.tolist() == [5, 6, 0]
    assert (pack.longest, pack.furthest) == (2, 7)


def test_a_pack_of_nothing() -> None:
    pack = Pack.of([])
    assert (pack.num_sequences, pack.num_tokens, pack.longest, pack.lengths) == (0, 0, 0, [])


@pytest.mark.parametrize("lengths", [[3, -1], [[1, 2]]])
def test_lengths_that_are_none(lengths: list) -> None:
    with pytest.raises(ValueError, match="lengths must be a list of non-negative integers; got"):
        Pack.of(torch.tensor(lengths))
