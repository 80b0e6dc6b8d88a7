"""Hidden patches from those that the encoder saw: the light decoder of a masked autoencoder (He et al. 2022,
https://arxiv.org/abs/2111.06377).

Axis legend: T patches of all sequences, S seen, N hidden, B sequences, P patch width, D width, K width of the decoder.

* The encoder gets the seen patches only, as a pack with the positions that they had: with three of four hidden it costs a
  quarter. `SeenPatches` makes that pack.
* The decoder puts what the encoder made of them back in their places, one learned vector in every other place, and runs a
  small stack of its own over all of it. It is thrown away after pretraining, so it belongs to the head.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from anyformer.nn.cache import Cache
from anyformer.nn.embedding import Positions, StreamEmbedding
from anyformer.nn.layers import initialise
from anyformer.nn.model import Head
from anyformer.nn.pack import Pack, Part, Parts, Stream, Streams
from anyformer.nn.trunk import Stack
from anyformer.task import Prediction

EPSILON = 1e-6
"""Added to the variance of a patch, so that an even patch is 0 everywhere."""


@dataclass(frozen=True, eq=False)
class SeenPack(Pack):
    """The seen patches of sequences, and where the hidden ones were."""

    hidden: Part = field(kw_only=True)
    """Positions of the hidden patches, int64 [N]."""

    @property
    def whole(self) -> Pack:
        """The pack of all patches. Cumulated lengths add up, so compiled code sees no length."""
        hidden = self.hidden.pack
        offsets = self.offsets + hidden.offsets
        tokens_T = torch.arange(self.num_tokens + hidden.num_tokens, device=offsets.device)
        positions_T = tokens_T - offsets[_sequence_of(tokens_T, offsets)]
        return Pack(self.bounds + hidden.bounds, offsets, positions_T, self.furthest, self.furthest)


class SeenPatches(StreamEmbedding):
    """The seen patches with the positions they had. A subclass, so that weights have the names of any other embedding."""

    def __init__(self, embedding: StreamEmbedding) -> None:
        super().__init__(dict(embedding.streams.items()))

    def forward(self, parts: Parts, cache: Cache | None = None) -> Streams:
        """Parts `source` [S, P], `source_positions` [S] and `hidden_positions` [N] to the stream `source` [S, D]."""
        seen, hidden = parts["source"], parts["hidden_positions"]
        pack, positions_S = seen.pack, parts["source_positions"].values
        # The longest sequence has the most seen and the most hidden patches: its length needs no look at the device.
        furthest = pack.longest + hidden.pack.longest
        pack = SeenPack(pack.bounds, pack.offsets, positions_S, pack.longest, furthest, hidden=hidden)
        return super().forward({"source": Part(seen.values, pack)}, cache)


class HiddenPatches(Head):
    """The patches that the encoder did not see. Target part `patches`: these [N, P].

    The only term, `loss`, is the squared error averaged over the values of a patch and over the hidden patches.
    """

    def __init__(
        self, width: int, patch_width: int, decoder_width: int, decoder: Stack, positions: Positions,
        normalised: bool = True,
    ) -> None:  # fmt: skip
        """`normalised` compares with each patch brought to mean 0 and deviation 1, which He et al. found to learn more."""
        super().__init__()
        self.normalised = normalised
        self.enter = nn.Linear(width, decoder_width)
        self.hidden = nn.Embedding(1, decoder_width)
        self.positions = positions
        self.output = nn.Linear(decoder_width, patch_width)
        initialise(self)
        self.decoder = decoder

    def forward(self, streams: Streams, at: Int[Tensor, "N"] | None = None) -> Float[Tensor, "N P"]:
        """Stream [S, D] of the seen patches to the hidden ones [N, P]; `at` chooses rows of these."""
        stream = streams["source"]
        seen = stream.pack
        assert isinstance(seen, SeenPack), "the embedding is SeenPatches"
        whole = seen.whole
        vector_1K = self.hidden.weight
        seen_SK = self.enter(stream.x_TD).to(vector_1K.dtype)
        x_TK = vector_1K.expand(whole.num_tokens, -1).index_copy(0, _rows(whole, seen, seen.positions), seen_SK)
        x_TK = self.decoder(Stream(self.positions(x_TK, whole), whole)).x_TD
        rows_N = _rows(whole, seen.hidden.pack, seen.hidden.values)
        return self.output(x_TK[rows_N if at is None else rows_N[at]])

    def weigh(self, targets: Parts) -> dict[str, Tensor]:
        """The number of hidden patches."""
        patches_NP = targets["patches"].values
        return {"loss": torch.tensor(float(len(patches_NP)), dtype=torch.float64, device=patches_NP.device)}

    def loss(self, streams: Streams, targets: Parts) -> dict[str, Tensor]:
        """Sum over the hidden patches of the squared error, averaged over the values of a patch."""
        found_NP = self(streams)
        if found_NP.dtype in (torch.float16, torch.bfloat16):
            found_NP = found_NP.float()
        true_NP = targets["patches"].values.to(found_NP.dtype)
        if self.normalised:
            variance_N1, mean_N1 = torch.var_mean(true_NP, dim=1, keepdim=True)
            true_NP = (true_NP - mean_N1) / (variance_N1 + EPSILON).sqrt()
        return {"loss": (found_NP - true_NP).square().mean(1).sum()}

    def split(self, output: Tensor, streams: Streams) -> list[Prediction]:
        """The hidden `patches` [N, P] of each sequence."""
        seen, rows = streams["source"].pack, output.float().cpu()
        assert isinstance(seen, SeenPack)
        return [Prediction({"patches": part.numpy()}) for part in seen.hidden.pack.split(rows)]


def _rows(whole: Pack, pack: Pack, positions_T: Int[Tensor, "T"]) -> Int[Tensor, "T"]:
    """The tokens of `whole` where the tokens of `pack` were, which have these positions."""
    tokens_T = torch.arange(pack.num_tokens, device=positions_T.device)
    return whole.offsets[_sequence_of(tokens_T, pack.offsets)] + positions_T


def _sequence_of(tokens_T: Int[Tensor, "T"], offsets: Int[Tensor, "bounds"]) -> Int[Tensor, "T"]:
    """The sequence that each token belongs to, of a pack with these cumulated lengths."""
    return torch.bucketize(tokens_T, offsets[1:], right=True)
