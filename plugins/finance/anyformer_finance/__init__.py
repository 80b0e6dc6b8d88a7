"""Time series for anyformer.

| task                     | from -> to                                         | built from                            |
|--------------------------|----------------------------------------------------|---------------------------------------|
| finance/forecast         | the history of series -> quantiles of their future | encoder, heads.Quantile               |
| finance/sampled-forecast | the same, from paths written value by value        | encoder, decoder, heads.LanguageModel |

| tokenizer          | makes                                              | learns  |
|--------------------|----------------------------------------------------|---------|
| finance/patches    | overlapping patches of a series, floats            | nothing |
| finance/value-bins | ids of bins of values, by the mean of their sizes  | nothing |

| preset                | what it is                                                                       |
|-----------------------|----------------------------------------------------------------------------------|
| finance/patch-small   | encoder of 3 blocks of width 16, for thousands of rows                           |
| finance/patch-base    | encoder of 3 blocks of width 128, for millions of values                         |
| finance/patchtst-42-* | PatchTST (Nie et al. 2023): 336 values in 42 patches to the next 96 to 720       |
| finance/patchtst-64-* | the same, 512 values in 64 patches                                               |

Families: `finance/patchtst` (checkpoints of transformers' `PatchTSTForPrediction`), `finance/chronos` (Ansari et al. 2024:
`T5ForConditionalGeneration` over value bins).
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
        ),
        "sampled-forecast": TaskSpec(
            "anyformer_finance.sampled_forecast:SampledForecast",
            "the history of one or many series to quantiles of sampled paths of their future",
        ),
    }


@hookimpl
def anyformer_tokenizers() -> Mapping[str, TokenizerSpec]:
    """How series become tokens."""
    return {
        "patches": TokenizerSpec("anyformer_finance.tokenizers:Patches", "overlapping patches of a series"),
        "value-bins": TokenizerSpec("anyformer_finance.value_bins:ValueBins", "ids of bins of the values of a series"),
    }


@hookimpl
def anyformer_families() -> Mapping[str, Any]:
    """PatchTST and Chronos."""
    from anyformer_finance.families import FAMILIES

    return FAMILIES


@hookimpl
def anyformer_presets() -> Mapping[str, Callable[[], Any]]:
    """Trunks for patches, and published models."""
    from anyformer_finance.presets import PRESETS

    return PRESETS
