"""From the tokens of a sequence to a few numbers: what the heads of one answer a sequence share.

Axis legend: T tokens of the pack, B sequences, N chosen sequences, C numbers of one, D width.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from anyformer.nn.layers import ACTIVATIONS, initialise
from anyformer.nn.model import Head
from anyformer.nn.pack import Pack, Streams

Pool = Literal["first", "last", "mean"]


def pool(x_TD: Float[Tensor, "T D"], pack: Pack, how: Pool) -> Float[Tensor, "B D"]:
    """One vector [B, D] a sequence: its first token, its last, or the mean of all; every sequence must have a token."""
    if how == "first":
        return x_TD[pack.first_B]
    if how == "last":
        return x_TD[pack.last_B]
    wide = x_TD.float() if x_TD.dtype in (torch.float16, torch.bfloat16) else x_TD
    lengths_B = pack.counts_B
    if pack.num_tokens == pack.num_sequences * pack.longest:
        return wide.unflatten(0, (-1, pack.longest)).mean(1).to(x_TD.dtype)
    sums_BD = torch.segment_reduce(wide, "sum", lengths=lengths_B, axis=0, unsafe=True)
    return (sums_BD / lengths_B[:, None]).to(x_TD.dtype)


class SequenceHead(Head):
    """A few numbers for a sequence, from its pooled vector. A head that says what they mean adds loss and `split`."""

    def __init__(
        self, width: int, num_outputs: int, pool: Pool = "mean", hidden: str | None = None, dropout: float = 0.0,
        stream: str = "source",
    ) -> None:  # fmt: skip
        """`hidden` names the activation of a layer before the last: `tanh` (BERT), `relu` (DistilBERT)."""
        super().__init__()
        self.pool: Pool = pool
        self.stream = stream
        self.hidden = nn.Linear(width, width) if hidden else None
        self.activation = ACTIVATIONS[hidden] if hidden else None
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, num_outputs)
        initialise(self)

    def forward(self, streams: Streams, at: Int[Tensor, "N"] | None = None) -> Float[Tensor, "N C"]:
        """Streams [T, D] to numbers [B, C]; `at` chooses sequences."""
        stream = streams[self.stream]
        x_BD = pool(stream.x_TD, stream.pack, self.pool)
        if at is not None:
            x_BD = x_BD[at]
        if self.hidden is not None and self.activation is not None:
            x_BD = self.activation(self.hidden(self.dropout(x_BD)))
        return self.output(self.dropout(x_BD))
