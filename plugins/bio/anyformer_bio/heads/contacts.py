"""Contacts of residues from attention maps: ESM's logistic regression, and a term of pairs that teaches the trunk.

Axis legend: T tokens of the pack, B sequences, L residues of one, P its pairs, H heads, D width, W width of the pair term.

* A residue pair's features are the symmetrised, average-product-corrected weights that each head of each block gives it
  (Rao et al. 2021, https://openreview.net/forum?id=fylclEqgvgd; correction: Dunn et al. 2008).
* Maps are reduced as they come, block by block: a number for each pair is kept and no map. In training the features stay for
  the weights' gradient; they carry none into the trunk, which ESM's regression did not train either.
* A trunk that is trained from scratch learns by a second term: a product of two projections of the residues, made
  symmetric, and a bias for each separation. `pair_width` 0 leaves both out.
* A sequence has one start and one end token, which belong to no pair.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from anyformer.heads.loss import IGNORED, count
from anyformer.nn.attention import Watch
from anyformer.nn.layers import initialise
from anyformer.nn.model import Head
from anyformer.nn.pack import Parts, Streams
from anyformer.task import Prediction
from anyformer_bio.contacts import FURTHEST, NEAREST


class Contacts(Head):
    """Whether two residues touch. Target part `contacts`: 1, 0 or -100 for each pair of a sequence.

    The pairs are those `NEAREST` residues apart or more, the first residue first, in rows: `numpy.triu_indices(L, NEAREST)`.
    """

    def __init__(self, num_layers: int, num_heads: int, width: int, pair_width: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.regression = nn.Linear(num_layers * num_heads, 1)
        self.dropout = nn.Dropout(dropout)
        self.left = nn.Linear(width, pair_width) if pair_width else None
        self.right = nn.Linear(width, pair_width) if pair_width else None
        self.separation = nn.Embedding(FURTHEST + 1, 1) if pair_width else None
        initialise(self)
        if self.separation is not None:
            nn.init.zeros_(self.separation.weight)
        self._seen: list[Tensor] = []
        """What the regression says of each sequence so far, [P] each, between `watch` and `forward`."""

    def watch(self) -> Watch:
        """Gathers what the regression needs of the pass that begins."""
        self._seen = []
        return self._gather

    def _gather(self, layer: int, sequence: int, maps_HLL: Tensor) -> None:
        """Add what one block says of the pairs of one sequence."""
        features_HP = pair_features(maps_HLL[:, 1:-1, 1:-1])
        # Maps come without a gradient; the regression's own weights have one.
        with torch.enable_grad(), torch.autocast(features_HP.device.type, enabled=False):
            weight_H = self.regression.weight.view(self.num_layers, -1)[layer]
            said_P = weight_H.to(features_HP.dtype) @ features_HP
            if layer == 0:
                assert sequence == len(self._seen), "sequences come in order"
                self._seen.append(said_P)
            else:
                self._seen[sequence] = self._seen[sequence] + said_P

    def forward(self, streams: Streams, at: Int[Tensor, "N"] | None = None) -> list[Tensor]:
        """Logits [P] of each sequence; `at` chooses sequences. The trunk's pass must have been watched."""
        stream, seen = streams["source"], self._seen
        assert len(seen) == stream.pack.num_sequences, "the head was not given the attention maps of this pass"
        self._seen = []
        pieces = stream.pack.split(stream.x_TD)
        chosen = range(len(seen)) if at is None else at.tolist()
        return [seen[index] + self.regression.bias + self._pair_term(pieces[index][1:-1]) for index in chosen]

    def _pair_term(self, x_LD: Tensor) -> Tensor | float:
        """What the residues themselves say of their pairs, [P]."""
        if self.left is None or self.right is None or self.separation is None:
            return 0.0
        first_P, second_P = pair_indices(len(x_LD), x_LD.device)
        x_LD = self.dropout(x_LD)
        product_LL = self.left(x_LD) @ self.right(x_LD).T / math.sqrt(self.left.out_features)
        bias_P = self.separation((second_P - first_P).clamp(max=FURTHEST)).squeeze(1)
        return product_LL[first_P, second_P] + product_LL[second_P, first_P] + bias_P

    def weigh(self, targets: Parts) -> dict[str, Tensor]:
        """The number of pairs that are known."""
        return {"loss": count(targets["contacts"].values)}

    def loss(self, streams: Streams, targets: Parts) -> dict[str, Tensor]:
        """Sum of the cross-entropy over known pairs."""
        logits_P, labels_P = torch.cat(self(streams)), targets["contacts"].values
        if logits_P.dtype in (torch.float16, torch.bfloat16):
            logits_P = logits_P.float()
        known = labels_P != IGNORED
        true = labels_P[known].to(logits_P.dtype)
        return {"loss": F.binary_cross_entropy_with_logits(logits_P[known], true, reduction="sum")}

    def split(self, output: list[Tensor], streams: Streams) -> list[Prediction]:
        """`logits` [P] of each sequence."""
        return [Prediction({"logits": logits.float().cpu().numpy()}) for logits in output]


def pair_indices(length: int, device: torch.device) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"]]:
    """First and second residue of each pair of a sequence of `length` residues."""
    first, second = torch.triu_indices(length, length, NEAREST, device=device)
    return first, second


def pair_features(maps_HLL: Float[Tensor, "H L L"]) -> Float[Tensor, "H P"]:
    """Symmetrised and average-product-corrected weights of each pair, in fp32 or wider: maps [H, L, L] to [H, P]."""
    if maps_HLL.dtype in (torch.float16, torch.bfloat16):
        maps_HLL = maps_HLL.float()
    first_P, second_P = pair_indices(maps_HLL.shape[1], maps_HLL.device)
    sums_HL = maps_HLL.sum(1) + maps_HLL.sum(2)
    expected_HP = sums_HL[:, first_P] * sums_HL[:, second_P] / sums_HL.sum(1, keepdim=True)
    return maps_HLL[:, first_P, second_P] + maps_HLL[:, second_P, first_P] - expected_HP
