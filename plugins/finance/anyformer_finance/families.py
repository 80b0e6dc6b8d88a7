"""The checkpoint layouts of series, bound to the task they serve."""

from __future__ import annotations

from anyformer.families import Family, t5
from anyformer_finance import chronos, patchtst

PATCHTST = Family(
    {"model_type": "patchtst"}, patchtst.FIELDS, patchtst.weights,
    {"PatchTSTForPrediction": patchtst.prediction("finance/forecast")}, "finance/patches", "model.", patchtst.ASSUMED,
)  # fmt: skip

CHRONOS = Family(
    {"model_type": "t5", "chronos_config": ...}, t5.FIELDS, t5.weights,
    {"T5ForConditionalGeneration": chronos.sampled("finance/sampled-forecast")}, "finance/value-bins", "", t5.ASSUMED,
)  # fmt: skip

FAMILIES = {"patchtst": PATCHTST, "chronos": CHRONOS}
