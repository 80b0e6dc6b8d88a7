"""Chronos (Ansari et al. 2024, https://arxiv.org/abs/2403.07815): a T5 whose words are bins of values.

* The weights and most settings are T5's. `chronos_config` has the bins, the lengths, and how paths are sampled; the last is
  a matter of each call here, so only the published choice, which is the default of a call, is read.
* Models of the same name without value bins (Chronos-Bolt, Chronos-2) have other classes, and are not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyformer.families import Architecture, Computed, t5
from anyformer.families.fields import Ours, Theirs

SAMPLING = {"num_samples": 20, "temperature": 1.0, "top_k": 50, "top_p": 1.0}
"""How the published models sample."""
FIXED = {"tokenizer_class": "MeanScaleUniformBins", "model_type": "seq2seq", **SAMPLING}
NEEDED = (
    "tokenizer_kwargs", "context_length", "prediction_length", "n_tokens", "n_special_tokens", "pad_token_id",
    "eos_token_id", "use_eos_token",
)  # fmt: skip


def _read(theirs: Theirs) -> Mapping[str, Any]:
    """The lengths. Raises `ValueError` for what is missing, and for what the numbers depend on and is not supported."""
    given = theirs["chronos_config"]
    if not isinstance(given, Mapping):
        raise ValueError(f"'chronos_config' is {given!r}; it must be a mapping with: {', '.join(NEEDED)}")
    limits = given.get("tokenizer_kwargs")
    if missing := [key for key in NEEDED if key not in given]:
        raise ValueError(f"'chronos_config' lacks {missing[0]!r}")
    if not isinstance(limits, Mapping) or set(limits) != {"low_limit", "high_limit"}:
        raise ValueError(f"'tokenizer_kwargs' is {limits!r}; supported: 'low_limit' and 'high_limit'")
    for key, value in FIXED.items():
        if given.get(key, value) != value:
            raise ValueError(f"{key!r} of 'chronos_config' is {given[key]!r}; supported: {value!r}")
    for key, value in (("vocab_size", given["n_tokens"]), ("decoder_start_token_id", given["pad_token_id"])):
        if theirs[key] != value:
            raise ValueError(f"{key!r} is {theirs[key]!r}; supported: that of 'chronos_config', {value!r}")
    return {"config.look_back": given["context_length"], "config.horizon": given["prediction_length"]}


def _write(ours: Ours) -> Mapping[str, Any]:
    bins, config = ours["tokenizer"], ours["config"]
    ids = {"pad_token_id": bins["pad"], "eos_token_id": bins["end"]}
    return {
        **ids, "decoder_start_token_id": bins["pad"],
        "chronos_config": {
            **FIXED, **ids, "tokenizer_kwargs": {"low_limit": bins["low"], "high_limit": bins["high"]},
            "context_length": config["look_back"], "prediction_length": config["horizon"],
            "n_tokens": bins["num_tokens"], "n_special_tokens": bins["num_special"], "use_eos_token": bins["ends"],
        },
    }  # fmt: skip


def sampled(task: str) -> Architecture:
    """`T5ForConditionalGeneration` over bins."""
    return t5.conditional(task, (Computed(_read, _write),))
