"""Embeddings that any domain uses: a table for ids, a projection for continuous patches, both with positions.

Axis legend: T tokens of the pack, V vocabulary, P patch width, D width.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from anyformer.nn.cache import Cache
from anyformer.nn.layers import sinusoids
from anyformer.nn.model import Embedding
from anyformer.nn.pack import Part, Parts, Stream, Streams


class Positions(nn.Module):
    """Positions that are added to the embedding: a learned table, sinusoids, or nothing."""

    def __init__(self, kind: str, width: int, length: int, base: float) -> None:
        super().__init__()
        self.kind, self.width, self.length, self.base = kind, width, length, base
        self.table = nn.Embedding(length, width) if kind == "learned" else None

    def forward(self, x_TD: Float[Tensor, "T D"], part: Part) -> Float[Tensor, "T D"]:
        """[T, D] to [T, D]. Raises `ValueError` for a sequence longer than a learned table."""
        positions = part.pack.positions
        if self.table is not None:
            if part.pack.furthest > self.length:
                raise ValueError(
                    f"a sequence reaches {part.pack.furthest} tokens; the model has {self.length} learned positions "
                    "(position.length)"
                )
            return x_TD + self.table(positions)
        if self.kind == "sinusoidal":
            return x_TD + sinusoids(positions, self.width, self.base, x_TD.dtype)
        return x_TD


class TokenEmbedding(nn.Module):
    """Ids to vectors: a table, a scale, positions."""

    def __init__(self, vocabulary_size: int, width: int, positions: Positions, scale: float = 1.0) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary_size, width)
        self.positions = positions
        self.scale = scale

    def forward(self, part: Part) -> Stream:
        """Ids [T] to a stream [T, D]."""
        return Stream(self.positions(self.table(part.values) * self.scale, part), part.pack)


class PatchEmbedding(nn.Module):
    """Continuous patches to vectors: one linear map, positions (Dosovitskiy et al. 2020; Nie et al. 2023)."""

    def __init__(self, patch_width: int, width: int, positions: Positions) -> None:
        super().__init__()
        self.projection = nn.Linear(patch_width, width)
        self.positions = positions

    def forward(self, part: Part) -> Stream:
        """Patches [T, P] to a stream [T, D]."""
        dtype = self.projection.weight.dtype
        # Under autocast the projection is narrow; the residual stream starts as wide as that of a token table.
        x_TD = self.projection(part.values.to(dtype)).to(dtype)
        return Stream(self.positions(x_TD, part), part.pack)


class StreamEmbedding(Embedding):
    """One embedding for each stream, by the name of its part; two streams may share one."""

    def __init__(self, streams: dict[str, nn.Module]) -> None:
        super().__init__()
        self.streams = nn.ModuleDict(streams)

    def forward(self, parts: Parts, cache: Cache | None = None) -> Streams:
        """Parts [T, ...] to streams [T, D] of the same names."""
        return {name: self.streams[name](parts[name]) for name in self.streams if name in parts}
