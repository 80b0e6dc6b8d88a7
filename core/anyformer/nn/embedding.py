"""Embeddings that any domain uses: a table for ids, a projection for continuous patches, both with positions.

Axis legend: T tokens of the pack, V vocabulary, P patch width, D width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anyformer.nn import config
from anyformer.nn.cache import Cache
from anyformer.nn.layers import sinusoids
from anyformer.nn.model import Embedding
from anyformer.nn.pack import Pack, Part, Parts, Stream, Streams


class Positions(nn.Module):
    """Positions that are added to the embedding: a learned table, sinusoids, or nothing."""

    def __init__(self, settings: config.Position, width: int) -> None:
        super().__init__()
        self.settings, self.width = settings, width
        rows = settings.length + settings.offset
        self.table = nn.Embedding(rows, width) if settings.kind == "learned" else None

    def forward(self, x_TD: Float[Tensor, "T D"], pack: Pack) -> Float[Tensor, "T D"]:
        """[T, D] to [T, D]. Raises `ValueError` for a sequence longer than a learned table."""
        settings = self.settings
        if self.table is not None:
            if pack.furthest > settings.length:
                raise ValueError(
                    f"a sequence reaches {pack.furthest} tokens; the model has {settings.length} learned positions "
                    "(position.length)"
                )
            return x_TD + self.table(pack.positions + settings.offset if settings.offset else pack.positions)
        if settings.kind == "sinusoidal":
            return x_TD + sinusoids(pack.positions, self.width, settings.base, x_TD.dtype, settings.halves)
        return x_TD


class Masked(nn.Module):
    """Hides mask tokens, and scales the others as if a fixed share were hidden (Lin et al. 2023, ESM-2)."""

    def __init__(self, mask_id: int, expected: float) -> None:
        super().__init__()
        self.mask_id, self.expected = mask_id, expected

    def forward(self, x_TD: Float[Tensor, "T D"], part: Part) -> Float[Tensor, "T D"]:
        """[T, D] to [T, D]: a sequence whose share of mask tokens is m is scaled by (1 - expected) / (1 - m)."""
        # Counts and their quotient need fp32 or wider.
        pack, wide = part.pack, torch.promote_types(x_TD.dtype, torch.float32)
        kept_T = (part.values != self.mask_id).to(wide)
        kept_B = kept_T.new_zeros(pack.num_sequences).index_add(0, pack.sequence_T, kept_T)
        # A sequence of masks alone has no vector left to scale.
        scale_B = (1 - self.expected) * pack.counts_B.to(wide) / kept_B.clamp(min=1)
        return x_TD * (kept_T * scale_B[pack.sequence_T])[:, None].to(x_TD.dtype)


class TokenEmbedding(nn.Module):
    """Ids to vectors: a table, a scale, segments, positions, a norm."""

    def __init__(
        self, vocabulary_size: int, width: int, positions: Positions, scale: float = 1.0, num_segments: int = 0,
        masked: Masked | None = None, norm: nn.Module | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.table = nn.Embedding(vocabulary_size, width)
        self.segments = nn.Embedding(num_segments, width) if num_segments else None
        self.positions = positions
        self.scale = scale
        self.masked = masked
        self.norm = norm

    def forward(self, part: Part, segments: Part | None = None) -> Stream:
        """Ids [T], and the segment of each [T], to a stream [T, D]."""
        x_TD = self.table(part.values)
        if self.scale != 1:
            x_TD = x_TD * self.scale
        if self.masked is not None:
            x_TD = self.masked(x_TD, part)
        if self.segments is not None:
            x_TD = x_TD + (self.segments.weight[0] if segments is None else self.segments(segments.values))
        x_TD = self.positions(x_TD, part.pack)
        return Stream(x_TD if self.norm is None else self.norm(x_TD), part.pack)


class PatchEmbedding(nn.Module):
    """Continuous patches to vectors: one linear map, positions (Dosovitskiy et al. 2020; Nie et al. 2023).

    `num_prefix` learned vectors, class tokens, go before each sequence and have positions like any patch.
    """

    def __init__(
        self, patch_width: int, width: int, positions: Positions, bias: bool = True, num_prefix: int = 0,
        norm: nn.Module | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.projection = nn.Linear(patch_width, width, bias=bias)
        self.prefix = nn.Embedding(num_prefix, width) if num_prefix else None
        self.positions = positions
        self.norm = norm

    def forward(self, part: Part, segments: Part | None = None) -> Stream:
        """Patches [T, P] to a stream [T, D], or [T + B * num_prefix, D]. Patches have no segments."""
        dtype = self.projection.weight.dtype
        # Under autocast the projection is narrow; the residual stream starts as wide as that of a token table.
        x_TD, pack = self.projection(part.values.to(dtype)).to(dtype), part.pack
        if self.prefix is not None:
            x_TD, pack = put_before(x_TD, pack, self.prefix.weight)
        x_TD = self.positions(x_TD, pack)
        return Stream(x_TD if self.norm is None else self.norm(x_TD), pack)


def put_before(
    x_TD: Float[Tensor, "T D"], pack: Pack, prefix_PD: Float[Tensor, "P D"]
) -> tuple[Float[Tensor, "longer D"], Pack]:
    """Every sequence with the same vectors before it, and its pack."""
    num = prefix_PD.shape[0]
    longer = Pack.of([length + num for length in pack.lengths], x_TD.device)
    if pack.num_tokens == pack.num_sequences * pack.longest:
        rows_BLD = x_TD.view(pack.num_sequences, pack.longest, -1)
        return torch.cat([prefix_PD.expand(len(rows_BLD), -1, -1), rows_BLD], dim=1).flatten(0, 1), longer
    # Every row is first a row of the prefix; those that are not are written over.
    rows_TD = prefix_PD[longer.positions.clamp(max=num - 1)]
    places_T = torch.arange(pack.num_tokens, device=x_TD.device) + num * (pack.sequence_T + 1)
    return rows_TD.index_copy(0, places_T, x_TD), longer


class StreamEmbedding(Embedding):
    """One embedding for each stream, by the name of its part; two streams may share one."""

    def __init__(self, streams: dict[str, nn.Module]) -> None:
        super().__init__()
        self.streams = nn.ModuleDict(streams)

    def forward(self, parts: Parts, cache: Cache | None = None) -> Streams:
        """Parts [T, ...] to streams [T, D] of the same names; `<name>_segments` goes with `<name>`."""
        return {
            name: self.streams[name](parts[name], parts.get(f"{name}_segments"))
            for name in self.streams
            if name in parts
        }
