"""Classification of a sequence, and of each of its tokens.

Axis legend: T tokens of the pack, B sequences, N chosen tokens, C classes, D width.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from anyformer.heads.loss import count, cross_entropy_sum
from anyformer.nn.layers import ACTIVATIONS, initialise
from anyformer.nn.model import Head
from anyformer.nn.pack import Pack, Parts, Streams
from anyformer.task import Prediction

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


class Classifier(Head):
    """One label for a sequence. Target part `label`: one id a sequence, -100 where there is none."""

    def __init__(
        self, width: int, num_labels: int, pool: Pool = "mean", hidden: str | None = None, dropout: float = 0.0,
        smoothing: float = 0.0, stream: str = "source",
    ) -> None:  # fmt: skip
        """`hidden` names the activation of a layer before the labels: `tanh` (BERT), `relu` (DistilBERT)."""
        super().__init__()
        self.pool: Pool = pool
        self.stream = stream
        self.smoothing = smoothing
        self.hidden = nn.Linear(width, width) if hidden else None
        self.activation = ACTIVATIONS[hidden] if hidden else None
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, num_labels)
        initialise(self)

    def forward(self, streams: Streams, at: Int[Tensor, "N"] | None = None) -> Float[Tensor, "N C"]:
        """Streams [T, D] to logits [B, C]; `at` chooses sequences."""
        stream = streams[self.stream]
        x_BD = pool(stream.x_TD, stream.pack, self.pool)
        if at is not None:
            x_BD = x_BD[at]
        if self.hidden is not None and self.activation is not None:
            x_BD = self.activation(self.hidden(self.dropout(x_BD)))
        return self.output(self.dropout(x_BD))

    def weigh(self, targets: Parts) -> dict[str, Tensor]:
        """The number of labelled sequences."""
        return {"loss": count(targets["label"].values)}

    def loss(self, streams: Streams, targets: Parts) -> dict[str, Tensor]:
        """Sum of the cross-entropy over labelled sequences."""
        return {"loss": cross_entropy_sum(self(streams), targets["label"].values, self.smoothing)}

    def split(self, output: Tensor, streams: Streams) -> list[Prediction]:
        """`logits` [C] of each sequence."""
        return [Prediction({"logits": row}) for row in output.float().cpu().numpy()]


class TokenClassifier(Head):
    """One label for each token. Target part `labels`: one id a token, -100 where there is none."""

    def __init__(
        self, width: int, num_labels: int, dropout: float = 0.0, smoothing: float = 0.0, stream: str = "source"
    ) -> None:
        super().__init__()
        self.stream = stream
        self.smoothing = smoothing
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, num_labels)
        initialise(self)

    def forward(self, streams: Streams, at: Int[Tensor, "N"] | None = None) -> Float[Tensor, "N C"]:
        """Streams [T, D] to logits [T, C], or [N, C] at the tokens `at` [N]."""
        x_TD = streams[self.stream].x_TD
        return self.output(self.dropout(x_TD if at is None else x_TD[at]))

    def weigh(self, targets: Parts) -> dict[str, Tensor]:
        """The number of labelled tokens."""
        return {"loss": count(targets["labels"].values)}

    def loss(self, streams: Streams, targets: Parts) -> dict[str, Tensor]:
        """Sum of the cross-entropy over labelled tokens."""
        return {"loss": cross_entropy_sum(self(streams), targets["labels"].values, self.smoothing)}

    def split(self, output: Tensor, streams: Streams) -> list[Prediction]:
        """`logits` [L, C] of each sequence."""
        rows = output.float().cpu()
        return [Prediction({"logits": part.numpy()}) for part in streams[self.stream].pack.split(rows)]
