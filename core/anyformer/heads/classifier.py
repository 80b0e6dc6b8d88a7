"""Classification of a sequence, and of each of its tokens.

Axis legend: T tokens of the pack, N chosen tokens, C classes, D width.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn

from anyformer.heads.loss import count, cross_entropy_sum
from anyformer.heads.sequence import Pool, SequenceHead
from anyformer.nn.layers import initialise
from anyformer.nn.model import Head
from anyformer.nn.pack import Parts, Streams
from anyformer.task import Prediction


class Classifier(SequenceHead):
    """One label for a sequence. Target part `label`: one id a sequence, -100 where there is none."""

    def __init__(
        self, width: int, num_labels: int, pool: Pool = "mean", hidden: str | None = None, dropout: float = 0.0,
        smoothing: float = 0.0, stream: str = "source",
    ) -> None:  # fmt: skip
        """As `SequenceHead`; `smoothing` is of the labels."""
        super().__init__(width, num_labels, pool, hidden, dropout, stream)
        self.smoothing = smoothing

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
