"""One query for each sequence, in as few calls as may be, against one call a sequence."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from anyformer.nn.attend import attend
from anyformer.nn.single import SPARE, read, runs

SLOT = 12
CASES = {
    "even": [(0, 3), (1, 7), (2, 12), (3, 1)],
    "every other": [(1, 5), (3, 5), (5, 5)],
    "holes": [(0, 4), (1, 6), (4, 12), (5, 2), (7, 12)],
    "backwards": [(5, 4), (2, 3), (7, 12)],
    "beams": [(0, 5), (0, 5), (0, 5), (3, 2), (3, 2), (3, 2)],
    "fewer beams": [(0, 5), (0, 5), (1, 5), (2, 9), (2, 9)],
    "nothing to read": [(0, 4), (1, 0), (2, 6)],
    "one": [(6, 12)],
}


@pytest.mark.parametrize("rules", [{}, {"window": 4}, {"bias": True}, {"bias": True, "window": 3}], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_equals_a_call_for_each_sequence(case: str, rules: dict[str, int], relative: Callable[..., float]) -> None:
    """Four query heads on two key-value heads, rows of eight slots; what no sequence may read is out of all proportion."""
    slots = CASES[case]
    generator = torch.Generator().manual_seed(0)
    bounds = torch.tensor([(slot * SLOT, slot * SLOT + used) for slot, used in slots])
    k_SKE, v_SKE = torch.randn(2, 8 * SLOT, 2, 8, generator=generator, dtype=torch.float64)
    unread = torch.ones(8 * SLOT, dtype=torch.bool)
    for first, last in bounds.tolist():
        unread[first:last] = False
    k_SKE[unread] = v_SKE[unread] = 1e6
    num = len(slots)
    q_THE = torch.randn(num, 4, 8, generator=generator, dtype=torch.float64)
    # Beams share a memory, and no memory has a bias.
    biased = "bias" in rules and "beams" not in case
    bias_HLS = torch.randn(4, 1, 12, generator=generator, dtype=torch.float64) if biased else None
    window = rules.get("window", 0)
    alone = torch.stack([torch.arange(num), torch.arange(1, num + 1)], dim=1)
    true = attend(q_THE, k_SKE, v_SKE, alone, bounds, bias_HLS=bias_HLS, causal=True, window=window)
    found = read(q_THE, k_SKE, v_SKE, runs(bounds, len(k_SKE)), bias_HLS, window)
    assert relative(found, true) <= 1e-12
    half = read(q_THE.bfloat16(), k_SKE.float(), v_SKE.float(), runs(bounds, len(k_SKE)), bias_HLS, window)
    assert half.dtype == torch.bfloat16
    assert relative(half.double(), true) <= 2e-2


@pytest.mark.parametrize(
    ("case", "calls"), [("even", 1), ("every other", 1), ("holes", 3), ("beams", 1), ("fewer beams", 3), ("one", 1)]
)
def test_calls(case: str, calls: int) -> None:
    bounds = torch.tensor([(slot * SLOT, slot * SLOT + used) for slot, used in CASES[case]])
    assert len(runs(bounds, 8 * SLOT)) == calls


def test_a_long_sequence_is_not_read_for_the_short_ones() -> None:
    long = 2 * 3 + SPARE + 1
    bounds = torch.tensor([(0, 3), (100, 100 + long), (200, 203), (300, 303 + SPARE)])
    assert [run.lengths for run in runs(bounds, 400)] == [[3], [long], [3, 3 + SPARE]]
    # Nor are rows read that are not there.
    assert [run.num for run in runs(torch.tensor([(0, 10), (10, 12)]), 12)] == [1, 1]
