"""Cross-entropy as a sum, in fp32: what classifiers and language models share.

Axis legend: N items, C classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

IGNORED = -100
"""The label of an item that counts for nothing."""


def cross_entropy_sum(
    logits_NC: Float[Tensor, "N C"], labels_N: Int[Tensor, "N"], smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Sum of the cross-entropy over the items whose label is not `IGNORED`, scalar, in fp32 or wider.

    Label smoothing: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567.
    """
    if logits_NC.dtype in (torch.float16, torch.bfloat16):
        logits_NC = logits_NC.float()
    return F.cross_entropy(logits_NC, labels_N, ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing)


def count(labels_N: Int[Tensor, "N"]) -> Float[Tensor, ""]:
    """How many labels are not `IGNORED`, a float64 scalar."""
    return (labels_N != IGNORED).sum().double()
