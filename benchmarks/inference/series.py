"""PatchTST (Nie et al. 2022) in the paper's shape for ETTh1: 128 windows of 7 channels to forecasts.

* Both sides start at the patches of scaled windows: scaling and cutting are the reader's work on ours.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.nn.pack import Pack, Part
from anyformer.plan.flops import forward_flops
from benchmarks.inference.case import Asked, Case, relative
from benchmarks.inference.limits import Phase
from benchmarks.inference.sides import Ours, compiled, lowered, read

WINDOWS, CHANNELS = 128, 7


def build(asked: Asked) -> Case:
    """The case of a name."""
    from transformers import PatchTSTConfig, PatchTSTForPrediction

    home: Any = PatchTSTForPrediction(PatchTSTConfig(
        num_input_channels=CHANNELS, context_length=336, patch_length=16, patch_stride=8, d_model=16, ffn_dim=128,
        num_hidden_layers=3, num_attention_heads=4, pre_norm=False, prediction_length=96, pooling_type=None,
        do_mask_input=False,
    )).eval()  # fmt: skip
    number, length = home.model.patchifier.num_patches, home.config.patch_length
    patches = torch.randn(WINDOWS, CHANNELS, number, length)

    def theirs(model: Any, given: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return list(model.head(model.model.encoder(given).last_hidden_state).transpose(1, 2).flatten(0, 1))

    low: Any = lowered(home, asked.precision)
    narrow = patches.bfloat16() if asked.precision == "bf16" else patches
    jobs = {"transformers": lambda: theirs(home, patches)}
    if low is not home:
        jobs[f"transformers, {asked.precision}"] = lambda: theirs(low, narrow)
    if asked.precision != "int8" and not asked.quick:
        fast = compiled(lambda given: low.head(low.model.encoder(given).last_hidden_state))

        def compiled_job() -> list[Tensor]:
            with torch.no_grad():
                return list(fast(narrow).transpose(1, 2).flatten(0, 1))

        jobs[f"transformers, {asked.precision}, compiled and frozen"] = compiled_job
    ours = read(home, asked.precision)
    flops = WINDOWS * CHANNELS * forward_flops(ours.trunk, {"source": number})
    return Case(
        "from patches to forecasts", "windows/s", WINDOWS, lambda: forecast(ours, patches.flatten(0, 1)), jobs,
        [Phase(flops)], relative,
    )  # fmt: skip


def forecast(ours: Ours, patches: Tensor) -> list[Tensor]:
    """Ours of each channel of each window."""
    part = Part(patches.flatten(0, 1), Pack.of([patches.shape[1]] * len(patches), None))
    with torch.inference_mode():
        found = ours.model[ours.component].head(ours.model.encode({"source": part}, ours.component))
    return list(found.squeeze(-1))
