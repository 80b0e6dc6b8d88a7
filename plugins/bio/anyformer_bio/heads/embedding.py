"""A vector for each protein, and one number read from it.

Axis legend: T tokens of the pack, B sequences, D width.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from anyformer.heads.sequence import pool
from anyformer.nn.layers import initialise
from anyformer.nn.model import Head
from anyformer.nn.pack import Pack, Parts, Stream, Streams
from anyformer.task import Prediction

Read = Literal["residues", "first"]


class ProteinVector(Head):
    """The mean over residues, between one start and one end token, or the start token's vector.

    With `num_values` it also reads so many numbers from the vector. Target part `values`: as many a sequence.
    """

    def __init__(self, width: int, read: Read = "residues", num_values: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.read: Read = read
        self.num_values = num_values
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, num_values) if num_values else None
        initialise(self)

    def forward(
        self, streams: Streams, at: Int[Tensor, "N"] | None = None
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B values"] | None]:
        """Streams [T, D] to vectors [B, D], and to numbers [B, values] if there are any; `at` chooses sequences."""
        x_BD = _vector(streams["source"], self.read)
        x_BD = x_BD if at is None else x_BD[at]
        return x_BD, None if self.output is None else self.output(self.dropout(x_BD))

    def weigh(self, targets: Parts) -> dict[str, Tensor]:
        """The number of values."""
        values = targets["values"].values
        return {"loss": values.new_tensor(values.numel(), dtype=torch.float64)}

    def loss(self, streams: Streams, targets: Parts) -> dict[str, Tensor]:
        """Sum of the squared errors."""
        _, found = self(streams)
        assert found is not None, "a head without numbers learns nothing"
        found = found.flatten()
        if found.dtype in (torch.float16, torch.bfloat16):
            found = found.float()
        return {"loss": (found - targets["values"].values.to(found.dtype)).square().sum()}

    def split(self, output: tuple[Tensor, Tensor | None], streams: Streams) -> list[Prediction]:
        """`vector` [D], `residues` [L, D] and, if there are any, `values` of each sequence."""
        stream = streams["source"]
        residues = stream.pack.split(stream.x_TD.float().cpu())
        vectors = output[0].float().cpu()
        found = [{"vector": v.numpy(), "residues": r[1:-1].numpy()} for v, r in zip(vectors, residues, strict=True)]
        if output[1] is not None:
            for each, values in zip(found, output[1].float().cpu(), strict=True):
                each["values"] = values.numpy()
        return [Prediction(each) for each in found]


def _vector(stream: Stream, read: Read) -> Float[Tensor, "B D"]:
    """One vector a sequence."""
    if read == "first":
        return pool(stream.x_TD, stream.pack, "first")
    pack = stream.pack
    inside = torch.ones(pack.num_tokens, dtype=torch.bool, device=stream.x_TD.device)
    inside[pack.first_B] = False
    inside[pack.last_B] = False
    residues = Pack.of([length - 2 for length in pack.lengths], stream.x_TD.device)
    return pool(stream.x_TD[inside], residues, "mean")
