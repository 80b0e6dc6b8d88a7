"""Time series for anyformer.

| task             | from -> to                                         | built from              |
|------------------|----------------------------------------------------|-------------------------|
| finance/forecast | the history of series -> quantiles of their future | encoder, heads.Quantile |

| tokenizer       | makes                                   | learns  |
|-----------------|-----------------------------------------|---------|
| finance/patches | overlapping patches of a series, floats | nothing |

| preset                | what it is                                                                       |
|-----------------------|----------------------------------------------------------------------------------|
| finance/patch-small   | encoder of 3 blocks of width 16, for thousands of rows                           |
| finance/patch-base    | encoder of 3 blocks of width 128, for millions of values                         |
| finance/patchtst-42-* | PatchTST (Nie et al. 2023): 336 values in 42 patches to the next 96 to 720       |
| finance/patchtst-64-* | the same, 512 values in 64 patches                                               |

Families: `finance/patchtst` (checkpoints of transformers' `PatchTSTForPrediction`).
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
def anyformer_families() -> Mapping[str, Any]:
    """PatchTST."""
    from anyformer_finance.families import FAMILIES

    return FAMILIES


@hookimpl
def anyformer_presets() -> Mapping[str, Callable[[], Any]]:
    """Trunks for patches, and published models."""
    from anyformer_finance.presets import PRESETS

    return PRESETS
