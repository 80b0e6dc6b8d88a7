"""PatchTST has the numbers of parameters of its published code, to the digit."""

from __future__ import annotations

import pytest

from anyformer.preset import Preset, count
from anyformer_finance.presets import PRESETS

PUBLISHED = {
    "patchtst-42-96": 81_728,
    "patchtst-42-192": 146_336,
    "patchtst-42-336": 243_248,
    "patchtst-42-720": 501_680,
    "patchtst-64-96": 115_872,
    "patchtst-64-192": 214_272,
    "patchtst-64-336": 361_872,
    "patchtst-64-720": 755_472,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_many_as_published(name: str) -> None:
    assert count(PRESETS[name]()) == PUBLISHED[name]


def test_every_whole_model_is_in_the_table_and_says_what_it_is() -> None:
    assert {name for name, function in PRESETS.items() if isinstance(function(), Preset)} == set(PUBLISHED)
    assert all(function.__doc__ for function in PRESETS.values())
