"""The checkpoint layouts of series, bound to the task they serve."""

from __future__ import annotations

from anyformer.families import Family
from anyformer_finance import patchtst

PATCHTST = Family(
    {"model_type": "patchtst"}, patchtst.FIELDS, patchtst.weights,
    {"PatchTSTForPrediction": patchtst.prediction("finance/forecast")}, "finance/patches", "model.", patchtst.ASSUMED,
)  # fmt: skip

FAMILIES = {"patchtst": PATCHTST}
