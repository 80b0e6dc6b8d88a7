"""One vector for a sequence, and how it is learned: from pairs with a score, or from pairs alone.

Axis legend: T tokens of the pack, B sequences, N pairs, D width.

* `Pooled` has no weights of its own: everything is learned by the trunk.
* With scores, the cosine of a pair is to equal its score (Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084).
* Without, each sequence is to find its partner among those of the same micro-pack, in both directions
  (van den Oord et al. 2018, https://arxiv.org/abs/1807.03748; Radford et al. 2021, https://arxiv.org/abs/2103.00020).
* A pair is ONE sample with two parts, `source` and `other`, so no cut of a step into micro-packs separates it;
  `PairEmbedding` sends both through one encoder.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from anyformer.heads.sequence import Pool, pool
from anyformer.nn.cache import Cache
from anyformer.nn.embedding import StreamEmbedding
from anyformer.nn.model import Head
from anyformer.nn.pack import Pack, Part, Parts, Streams
from anyformer.task import Prediction


class Pooled(Head):
    """One vector for each sequence. Target part `score`: one cosine a pair, NaN where it is unknown.

    In training the stream holds 2 N sequences: the first of every pair, then the second of every pair.
    """

    def __init__(
        self, pool: Pool = "mean", normalise: bool = False, contrast: bool = False, scale: float = 20.0,
        stream: str = "source",
    ) -> None:  # fmt: skip
        """`normalise` brings vectors to length 1; `contrast` learns pairs without scores, from cosines times `scale`."""
        super().__init__()
        self.pool: Pool = pool
        self.normalise = normalise
        self.couples_samples = contrast
        self.scale = scale
        self.stream = stream

    def forward(self, streams: Streams, at: Int[Tensor, "N"] | None = None) -> Float[Tensor, "B D"]:
        """Streams [T, D] to vectors [B, D], in fp32 or wider; `at` chooses sequences."""
        stream = streams[self.stream]
        x_BD = pool(stream.x_TD, stream.pack, self.pool)
        if at is not None:
            x_BD = x_BD[at]
        if x_BD.dtype in (torch.float16, torch.bfloat16):
            x_BD = x_BD.float()
        return F.normalize(x_BD, dim=1) if self.normalise else x_BD

    def weigh(self, targets: Parts) -> dict[str, Tensor]:
        """The number of pairs, or of those with a score."""
        scores_N = targets["score"].values
        known = torch.ones_like(scores_N) if self.couples_samples else ~scores_N.isnan()
        return {"loss": known.sum().double()}

    def loss(self, streams: Streams, targets: Parts) -> dict[str, Tensor]:
        """Sum over the pairs of the squared error of the cosine, or of the cross-entropy of finding the partner."""
        scores_N = targets["score"].values
        first_ND, second_ND = F.normalize(self(streams), dim=1).chunk(2)
        assert len(first_ND) == len(second_ND) == len(scores_N), "two sequences a pair"
        if self.couples_samples:
            return {"loss": self._contrast(first_ND, second_ND)}
        known_N = ~scores_N.isnan()
        miss_N = (first_ND * second_ND).sum(1) - torch.where(known_N, scores_N, 0.0)
        return {"loss": (miss_N * known_N).square().sum()}

    def _contrast(self, first_ND: Float[Tensor, "N D"], second_ND: Float[Tensor, "N D"]) -> Float[Tensor, ""]:
        """A pack of one pair has nobody to tell it from: its loss is 0."""
        # Autocast would compute the products narrow, and the scale would magnify what that loses.
        with torch.autocast(first_ND.device.type, enabled=False):
            logits_NN = self.scale * first_ND @ second_ND.T
        partner_N = torch.arange(len(logits_NN), device=logits_NN.device)
        ways = [F.cross_entropy(logits, partner_N, reduction="sum") for logits in (logits_NN, logits_NN.T)]
        return torch.stack(ways).mean()

    def split(self, output: Tensor, streams: Streams) -> list[Prediction]:
        """`vector` [D] of each sequence."""
        return [Prediction({"vector": row}) for row in output.float().cpu().numpy()]


class PairEmbedding(StreamEmbedding):
    """Samples of one sequence or of two: all of part `source`, then all of part `other`, as one stream `source`.

    In one pack either no sample has anything in `other`, or every sample has; the part may be left out. A subclass, so that
    its weights have the names they have in any other embedding, which a checkpoint knows them by.
    """

    def __init__(self, embedding: StreamEmbedding) -> None:
        super().__init__(dict(embedding.streams.items()))

    def forward(self, parts: Parts, cache: Cache | None = None) -> Streams:
        """Parts `source` [T1] and `other` [T2] to the stream `source` [T1 + T2, D]."""
        first, second = parts["source"], parts.get("other")
        if second is None or second.pack.num_tokens == 0:
            return super().forward(parts, cache)
        values = torch.cat([first.values, second.values])
        return super().forward({"source": Part(values, one_after(first.pack, second.pack))}, cache)


def one_after(first: Pack, second: Pack) -> Pack:
    """The pack of the sequences of `first` and then those of `second`."""
    shift = first.num_tokens
    return Pack(
        bounds=torch.cat([first.bounds, second.bounds + shift]),
        offsets=torch.cat([first.offsets, second.offsets[1:] + shift]),
        positions=torch.cat([first.positions, second.positions]),
        longest=max(first.longest, second.longest),
        furthest=max(first.furthest, second.furthest),
    )
