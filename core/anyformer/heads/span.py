"""Where a span of a sequence begins and where it ends: two scores for each token.

Axis legend: T tokens of the pack, B sequences, N chosen tokens, L length, D width.

* The scores of a sequence compete with one another, so that training is a choice of one token as the beginning and one as
  the end (Devlin et al. 2019, https://arxiv.org/abs/1810.04805). The first token stands for "there is no such span".
* The softmax runs over each sequence of the pack as it lies there; nothing is padded or masked.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from anyformer.heads.loss import IGNORED, count
from anyformer.nn.layers import initialise
from anyformer.nn.model import Head
from anyformer.nn.pack import Pack, Parts, Streams
from anyformer.task import Prediction

EDGES = ("start", "end")
"""Names of the targets and of the predictions, in the order of the head's two outputs."""


class Span(Head):
    """One span a sequence. Target parts `start` and `end`: a token's place in its sequence; 0 for none, -100 where unknown.

    The only term, `loss`, is the mean of two cross-entropies over the tokens of a sequence, that of the start and that of
    the end, averaged over the sequences where they are known.
    """

    def __init__(self, width: int, dropout: float = 0.0, stream: str = "source") -> None:
        super().__init__()
        self.stream = stream
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, len(EDGES))
        initialise(self)

    def forward(self, streams: Streams, at: Int[Tensor, "N"] | None = None) -> Float[Tensor, "N 2"]:
        """Streams [T, D] to scores of start and end [T, 2], or [N, 2] at the tokens `at` [N]."""
        x_TD = streams[self.stream].x_TD
        return self.output(self.dropout(x_TD if at is None else x_TD[at]))

    def weigh(self, targets: Parts) -> dict[str, Tensor]:
        """Half the number of known starts and ends: the number of sequences where both are known."""
        return {"loss": (count(targets["start"].values) + count(targets["end"].values)) / 2}

    def loss(self, streams: Streams, targets: Parts) -> dict[str, Tensor]:
        """Half the sum of the cross-entropies of known starts and ends."""
        places_B2 = torch.stack([targets[edge].values for edge in EDGES], dim=1)
        return {"loss": choice_loss_sum(self(streams), places_B2, streams[self.stream].pack) / len(EDGES)}

    def split(self, output: Tensor, streams: Streams) -> list[Prediction]:
        """The scores `start` [L] and `end` [L] of the tokens of each sequence."""
        rows = output.float().cpu()
        parts = [part.numpy() for part in streams[self.stream].pack.split(rows)]
        return [Prediction({edge: part[:, place] for place, edge in enumerate(EDGES)}) for part in parts]


def choice_loss_sum(scores_TC: Float[Tensor, "T C"], places_BC: Int[Tensor, "B C"], pack: Pack) -> Float[Tensor, ""]:
    """Sum of the cross-entropies of C choices of one token out of each sequence, scalar, in fp32 or wider.

    `places_BC` are tokens counted from the beginning of their sequence; those that are `IGNORED` add nothing.
    """
    if scores_TC.dtype in (torch.float16, torch.bfloat16):
        scores_TC = scores_TC.float()
    # Any number may be taken off the scores of a sequence; its greatest keeps the exponentials from overflowing.
    greatest_BC = torch.segment_reduce(scores_TC.detach(), "max", lengths=pack.counts_B, axis=0, unsafe=True)
    shifted_TC = scores_TC - greatest_BC[pack.sequence_T]
    sums_BC = torch.segment_reduce(shifted_TC.exp(), "sum", lengths=pack.counts_B, axis=0, unsafe=True)
    known_BC = places_BC != IGNORED
    chosen_BC = shifted_TC.gather(0, pack.first_B[:, None] + places_BC.where(known_BC, 0))
    return (sums_BC.log() - chosen_BC).where(known_BC, 0).sum()
