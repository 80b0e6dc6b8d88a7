"""Heads of vision transformers that read more than one vector: the class token and the patches, or several class tokens.

Axis legend: T tokens of the pack, B sequences, L length, C classes, D width.

* DINOv2 (Oquab et al. 2023) puts the class token beside the mean of the patches and has one linear layer on both.
* DeiT's distilled models (Touvron et al. 2020, https://arxiv.org/abs/2012.12877) have a second class token, once taught
  by a teacher, with a linear layer of its own; the answer is the mean of both. Here both learn from the labels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from anyformer.heads.loss import count, cross_entropy_sum
from anyformer.nn.layers import initialise
from anyformer.nn.model import Head
from anyformer.nn.pack import Parts, Streams
from anyformer.task import Prediction


class ClassTokens(Head):
    """One label for an image. Target part `label`: one id a sequence, -100 where there is none.

    All sequences have one length, and begin with `num_tokens` class tokens.
    """

    def __init__(
        self, width: int, num_labels: int, num_tokens: int, beside_patches: bool, dropout: float = 0.0,
        smoothing: float = 0.0, stream: str = "source",
    ) -> None:  # fmt: skip
        """`beside_patches`: one layer on the only class token and the mean of the patches; else one for each token."""
        super().__init__()
        if beside_patches and num_tokens != 1:
            raise ValueError(
                f"one class token stands beside the patches; there are {num_tokens}, set config.class_tokens to 1"
            )
        self.num_tokens, self.beside_patches = num_tokens, beside_patches
        self.stream, self.smoothing = stream, smoothing
        self.dropout = nn.Dropout(dropout)
        num_inputs = 2 * width if beside_patches else width
        self.outputs = nn.ModuleList(nn.Linear(num_inputs, num_labels) for _ in range(num_tokens))
        initialise(self)

    def forward(self, streams: Streams, at: Int[Tensor, "N"] | None = None) -> Float[Tensor, "N C"]:
        """Streams [T, D] to logits [B, C]; `at` chooses sequences."""
        stream = streams[self.stream]
        assert stream.pack.num_tokens == stream.pack.num_sequences * stream.pack.longest, "images have one size"
        x_BLD = stream.x_TD.unflatten(0, (-1, stream.pack.longest))
        if at is not None:
            x_BLD = x_BLD[at]
        vectors = list(x_BLD[:, : self.num_tokens].unbind(1))
        if self.beside_patches:
            vectors = [torch.cat([vectors[0], x_BLD[:, 1:].mean(1)], dim=1)]
        logits = [output(self.dropout(x_BD)) for output, x_BD in zip(self.outputs, vectors, strict=True)]
        return torch.stack(logits).mean(0)

    def weigh(self, targets: Parts) -> dict[str, Tensor]:
        """The number of labelled sequences."""
        return {"loss": count(targets["label"].values)}

    def loss(self, streams: Streams, targets: Parts) -> dict[str, Tensor]:
        """Sum of the cross-entropy over labelled sequences."""
        return {"loss": cross_entropy_sum(self(streams), targets["label"].values, self.smoothing)}

    def split(self, output: Tensor, streams: Streams) -> list[Prediction]:
        """`logits` [C] of each sequence."""
        return [Prediction({"logits": row}) for row in output.float().cpu().numpy()]
