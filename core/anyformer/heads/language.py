"""The language model's head: a distribution over the vocabulary, where it is asked for.

Axis legend: T tokens of the pack, N chosen tokens, V vocabulary, D width.

* The vocabulary is projected only at labelled tokens in training, and only at the last tokens in decoding: it is often the
  most expensive layer of the model, and most of its rows are thrown away otherwise.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from anyformer.heads.loss import IGNORED, count, cross_entropy_sum
from anyformer.nn.embedding import StreamEmbedding
from anyformer.nn.layers import ACTIVATIONS, initialise
from anyformer.nn.model import Embedding, Head
from anyformer.nn.pack import Parts, Streams
from anyformer.task import Prediction


class LanguageModel(Head):
    """Next token, masked token, or the decoder's next token: which one, the target part `labels` says, token by token."""

    def __init__(
        self, width: int, vocabulary_size: int, stream: str = "target", tied: bool = True, smoothing: float = 0.0,
        bias: bool = False, hidden: str | None = None, epsilon: float = 1e-12, scale: float = 1.0,
    ) -> None:  # fmt: skip
        """`hidden` names the activation of a layer, with a norm, before the vocabulary (BERT); `scale` multiplies what it
        reads (T5).
        """
        super().__init__()
        self.stream = stream
        self.tied = tied
        self.smoothing = smoothing
        self.scale = scale
        self.hidden = None if hidden is None else nn.Linear(width, width)
        self.activation = None if hidden is None else ACTIVATIONS[hidden]
        self.norm = None if hidden is None else nn.LayerNorm(width, eps=epsilon)
        self.output = nn.Linear(width, vocabulary_size, bias=bias)
        initialise(self)

    def tie(self, embedding: Embedding) -> None:
        """Share the token table of the stream this head reads (Press and Wolf 2017, https://arxiv.org/abs/1608.05859)."""
        if not self.tied:
            return
        assert isinstance(embedding, StreamEmbedding), "a tied head needs the table of a token embedding"
        table = embedding.streams[self.stream].table
        assert isinstance(table, nn.Embedding)
        self.output.weight = table.weight

    def forward(self, streams: Streams, at: Int[Tensor, "N"] | None = None) -> Float[Tensor, "N V"]:
        """Streams [T, D] to logits [T, V], or [N, V] at the tokens `at` [N]."""
        x_TD = streams[self.stream].x_TD
        x_ND = x_TD if at is None else x_TD[at]
        if self.hidden is not None and self.activation is not None and self.norm is not None:
            x_ND = self.norm(self.activation(self.hidden(x_ND)))
        return self.output(x_ND if self.scale == 1 else x_ND * self.scale)

    def weigh(self, targets: Parts) -> dict[str, Tensor]:
        """The number of labelled tokens."""
        return {"loss": count(targets["labels"].values)}

    def loss(self, streams: Streams, targets: Parts) -> dict[str, Tensor]:
        """Sum of the cross-entropy over labelled tokens."""
        labels_T = targets["labels"].values
        at = torch.nonzero(labels_T != IGNORED).squeeze(1)
        if len(at) == len(labels_T):
            return {"loss": cross_entropy_sum(self(streams), labels_T, self.smoothing)}
        return {"loss": cross_entropy_sum(self(streams, at), labels_T[at], self.smoothing)}

    def split(self, output: Tensor, streams: Streams) -> list[Prediction]:
        """`logits` [L, V] of each sequence."""
        rows = output.float().cpu()
        return [Prediction({"logits": part.numpy()}) for part in streams[self.stream].pack.split(rows)]
