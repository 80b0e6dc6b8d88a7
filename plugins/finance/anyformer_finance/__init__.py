"""Time series for anyformer.

| task             | from -> to                                         | built from              |
|------------------|----------------------------------------------------|-------------------------|
| finance/forecast | the history of series -> quantiles of their future | encoder, heads.Quantile |

| tokenizer       | makes                                   | learns  |
|-----------------|-----------------------------------------|---------|
| finance/patches | overlapping patches of a series, floats | nothing |

| preset              | trunk                                                      |
|---------------------|------------------------------------------------------------|
| finance/patch-small | encoder of 3 blocks of width 16, for thousands of rows     |
| finance/patch-base  | encoder of 3 blocks of width 128, for millions of values   |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from anyformer.hookspecs import hookimpl
from anyformer.specs import TaskSpec, TokenizerSpec


@hookimpl
def anyformer_tasks() -> Mapping[str, TaskSpec]:
    """What a user can ask for."""
    return {
        "forecast": TaskSpec(
            "anyformer_finance.forecast:Forecast", "the history of one or many series to quantiles of their future"
        )
    }


@hookimpl
def anyformer_tokenizers() -> Mapping[str, TokenizerSpec]:
    """How series become tokens."""
    return {"patches": TokenizerSpec("anyformer_finance.tokenizers:Patches", "overlapping patches of a series")}


@hookimpl
def anyformer_presets() -> Mapping[str, Callable[[], Any]]:
    """Trunks for patches."""
    from anyformer_finance import presets

    return {"patch-small": presets.patch_small, "patch-base": presets.patch_base}
