"""A vector for each image, and a label read from it.

Axis legend: T tokens of the pack, B sequences, L length, C classes, D width.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from anyformer.heads.loss import count, cross_entropy_sum
from anyformer.nn.layers import initialise
from anyformer.nn.model import Head
from anyformer.nn.pack import Parts, Streams
from anyformer.task import Prediction


class ImageVector(Head):
    """The first class token, or the mean of the patches. Target part `label`: one id a sequence, -100 where there is none.

    All sequences have one length, and begin with `num_tokens` class tokens. The labels are read from the vector as it is
    before `normalise` brings it to length 1, where a linear layer could hardly tell them apart.
    """

    def __init__(
        self, width: int, pooling: Literal["first", "mean"], num_tokens: int, num_labels: int = 0, normalise: bool = False,
        dropout: float = 0.0, smoothing: float = 0.0, stream: str = "source",
    ) -> None:  # fmt: skip
        """`num_labels` is 0 for a head that only embeds and learns nothing."""
        super().__init__()
        self.pooling, self.num_tokens, self.normalise = pooling, num_tokens, normalise
        self.stream, self.smoothing = stream, smoothing
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, num_labels) if num_labels else None
        initialise(self)

    def forward(
        self, streams: Streams, at: Int[Tensor, "N"] | None = None
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B C"] | None]:
        """Streams [T, D] to vectors [B, D] in fp32 or wider, and to logits [B, C] if there are labels; `at` chooses
        sequences.
        """
        stream = streams[self.stream]
        assert stream.pack.num_tokens == stream.pack.num_sequences * stream.pack.longest, "images have one size"
        x_BLD = stream.x_TD.unflatten(0, (-1, stream.pack.longest))
        if at is not None:
            x_BLD = x_BLD[at]
        wide = torch.promote_types(x_BLD.dtype, torch.float32)
        pooled_BD = x_BLD[:, 0] if self.pooling == "first" else x_BLD[:, self.num_tokens :].mean(1, dtype=wide)
        logits_BC = None if self.output is None else self.output(self.dropout(pooled_BD.to(x_BLD.dtype)))
        vectors_BD = pooled_BD.to(wide)
        return F.normalize(vectors_BD, dim=1) if self.normalise else vectors_BD, logits_BC

    def weigh(self, targets: Parts) -> dict[str, Tensor]:
        """The number of labelled sequences."""
        return {"loss": count(targets["label"].values)}

    def loss(self, streams: Streams, targets: Parts) -> dict[str, Tensor]:
        """Sum of the cross-entropy over labelled sequences."""
        _, logits_BC = self(streams)
        assert logits_BC is not None, "a head without labels learns nothing"
        return {"loss": cross_entropy_sum(logits_BC, targets["label"].values, self.smoothing)}

    def split(self, output: tuple[Tensor, Tensor | None], streams: Streams) -> list[Prediction]:
        """`vector` [D] and, if there are labels, `logits` [C] of each sequence."""
        named = {"vector": output[0], "logits": output[1]}
        rows = {name: tensor.float().cpu().numpy() for name, tensor in named.items() if tensor is not None}
        return [Prediction({name: row[index] for name, row in rows.items()}) for index in range(len(rows["vector"]))]
