"""Several labels of a sequence at once, each yes or no.

Axis legend: B sequences, C labels.

* The labels are independent given the sequence: one binary cross-entropy each.
* A label that was not measured counts for nothing, in the loss as in its denominator: in Tox21 (Huang et al. 2016,
  https://doi.org/10.3389/fenvs.2015.00085) a row has results for some of twelve assays.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from anyformer.heads.loss import IGNORED, count
from anyformer.heads.sequence import Pool, SequenceHead
from anyformer.nn.pack import Parts, Streams
from anyformer.task import Prediction


class MultiLabel(SequenceHead):
    """Yes or no for each label. Target part `labels`, [1, C] a sequence: 1 yes, 0 no, -100 unknown.

    The only term, `loss`, is the binary cross-entropy averaged over all labels that are known.
    """

    def __init__(
        self, width: int, num_labels: int, pool: Pool = "mean", hidden: str | None = None, dropout: float = 0.0,
        positive_weights: Sequence[float] | None = None, stream: str = "source",
    ) -> None:  # fmt: skip
        """As `SequenceHead`; `positive_weights`, one a label, multiply the loss of each yes."""
        super().__init__(width, num_labels, pool, hidden, dropout, stream)
        assert positive_weights is None or len(positive_weights) == num_labels, "one weight a label"
        self.positive_weights = None if positive_weights is None else tuple(positive_weights)

    def weigh(self, targets: Parts) -> dict[str, Tensor]:
        """The number of known labels."""
        return {"loss": count(targets["labels"].values.flatten())}

    def loss(self, streams: Streams, targets: Parts) -> dict[str, Tensor]:
        """Sum of the binary cross-entropy over known labels, in fp32 or wider."""
        logits_BC, labels_BC = self(streams), targets["labels"].values
        if logits_BC.dtype in (torch.float16, torch.bfloat16):
            logits_BC = logits_BC.float()
        weights_C = None if self.positive_weights is None else logits_BC.new_tensor(self.positive_weights)
        known_BC = labels_BC != IGNORED
        true_BC = labels_BC.where(known_BC, 0).to(logits_BC.dtype)
        loss_BC = F.binary_cross_entropy_with_logits(logits_BC, true_BC, pos_weight=weights_C, reduction="none")
        return {"loss": loss_BC.where(known_BC, 0).sum()}

    def split(self, output: Tensor, streams: Streams) -> list[Prediction]:
        """`logits` [C] of each sequence."""
        return [Prediction({"logits": row}) for row in output.float().cpu().numpy()]
