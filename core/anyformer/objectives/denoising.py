"""Denoising: an encoder reads a spoiled sequence, a decoder writes the whole one (BART, Lewis et al. 2020,
https://arxiv.org/abs/1910.13461).

* Text infilling: spans of Poisson length become one mask each, so the model must tell how many tokens are missing. A span
  of length 0 is a mask where nothing is missing.
* Segments (sentences) change places first, where the tokenizer says where one ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from anyformer.objectives.items import ToSequence
from anyformer.objectives.spans import compose, lay_out, num_hidden
from anyformer.task import Array, Frozen, Rng, Sample, Tokenizer


class Denoising(ToSequence):
    """An encoder-decoder learns to undo what was done to a sequence."""

    class Config(Frozen):
        """Of the objective."""

        context: int = Field(default=512, ge=1)
        """Tokens of a window at most."""
        rate: float = Field(default=0.3, gt=0, lt=1)
        """Share of the tokens that are hidden."""
        span: float = Field(default=3.0, ge=1)
        """Mean length of a span, of a Poisson distribution."""
        permute: bool = True
        """Segments change places, where the tokenizer says where one ends."""

    def __init__(self, config: Any, tokenizer: Tokenizer) -> None:
        super().__init__(config, tokenizer)
        if tokenizer.mask_id is None:
            raise ValueError("denoising needs a tokenizer with a mask id")
        self._mask = tokenizer.mask_id

    def learn(self, parts: dict[str, Array], rng: Rng) -> list[Sample]:
        """The spoiled window, and the whole one."""
        ids = parts["ids"]
        if not len(self.open_places(ids)):
            return []
        moved = self._permuted(ids, rng) if self.config.permute else ids
        return [self.sample(self._infilled(moved, rng), ids)]

    def _permuted(self, ids: Array, rng: Rng) -> Array:
        """The segments of `ids` [L] in another order."""
        segments = np.split(ids, np.flatnonzero(self.tokenizer.closes(ids)[:-1]) + 1)
        return np.concatenate([segments[index] for index in rng.permutation(len(segments))])

    def _infilled(self, ids: Array, rng: Rng) -> Array:
        """`ids` with one mask in the place of each span."""
        places = self.open_places(ids)
        lengths = self._lengths(len(places), rng)
        hidden = np.zeros(len(ids), dtype=bool)
        starts, ends = lay_out(lengths, len(places), rng)
        for start, end in zip(starts, ends, strict=True):
            hidden[places[start:end]] = True
        at = np.append(places, len(ids))[starts]
        kept = np.insert(~hidden, at, True)
        return np.insert(ids, at, self._mask)[kept]

    def _lengths(self, room: int, rng: Rng) -> Array:
        """Lengths of spans that hide the share `rate` of `room` tokens, int64 [K]."""
        total, found = num_hidden(room, self.config.rate), 0
        lengths: list[int] = []
        while found < total:
            lengths.append(min(int(rng.poisson(self.config.span)), total - found))
            found += lengths[-1]
        num_gaps = room - total + 1
        if len(lengths) > num_gaps:  # of a few tokens, or where most are hidden: so many spans cannot be kept apart
            return compose(total, min(num_gaps, total), rng)
        return rng.permutation(lengths)
