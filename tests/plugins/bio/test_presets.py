"""ESM-2 has the published numbers of parameters, to the digit."""

from __future__ import annotations

import pytest

from anyformer.preset import count
from anyformer_bio.presets import PRESETS

PUBLISHED = {
    "esm2-8m": 7_512_474,
    "esm2-35m": 33_501_394,
    "esm2-150m": 148_140_154,
    "esm2-650m": 651_043_254,
    "esm2-3b": 2_839_005_634,
    "esm2-15b": 15_129_100_194,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_many_as_published(name: str) -> None:
    assert count(PRESETS[name]()) == PUBLISHED[name]


def test_every_preset_is_in_the_table_and_says_what_it_is() -> None:
    assert set(PRESETS) == set(PUBLISHED)
    assert all((function.__doc__ or "").startswith("ESM-2 ") for function in PRESETS.values())
