"""Masked token: an encoder learns hidden tokens from those around them (Devlin et al. 2019,
https://arxiv.org/abs/1810.04805).

* Of the tokens chosen, 80 % become the mask, 10 % a random token, 10 % stay. The vocabulary is projected at them only.
* With `whole_units`, all ids of a unit (a word) are chosen or none; the tokenizer says which ids go on a unit.
* With `longest_span` above 1, runs of geometric length are chosen until the share is reached, and a run shares one fate
  (SpanBERT, Joshi et al. 2020, https://arxiv.org/abs/1907.10529).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from anyformer.heads.loss import IGNORED
from anyformer.objectives.items import OverIds
from anyformer.task import Array, Frozen, Rng, Sample, Tokenizer


class MaskedToken(OverIds):
    """An encoder learns hidden tokens from those around them."""

    class Config(Frozen):
        """Of the objective."""

        context: int = Field(default=512, ge=1)
        """Tokens of a window at most."""
        rate: float = Field(default=0.15, gt=0, lt=1)
        """Share of the tokens that are learned."""
        whole_units: bool = False
        """Hide all ids of a unit, such as a word, or none."""
        longest_span: int = Field(default=1, ge=1)
        """Tokens (or units) in a row that are hidden together at most; 1: each for itself. SpanBERT has 10."""
        span_end: float = Field(default=0.2, gt=0, lt=1)
        """Chance that a span ends after each token (or unit): the lengths are geometric."""

    trunk = "encoder"
    stream = "source"
    default_trunk: ClassVar[Mapping[str, Any]] = {"encoder": {}}

    def __init__(self, config: Any, tokenizer: Tokenizer) -> None:
        super().__init__(config, tokenizer)
        if tokenizer.mask_id is None:
            raise ValueError("masked-token pretraining needs a tokenizer with a mask id")
        if config.whole_units and type(tokenizer).continues is Tokenizer.continues:
            raise ValueError(
                f"the tokenizer {type(tokenizer).__name__} does not say which ids go on a unit, so whole units cannot be "
                "hidden; set config.whole_units to false"
            )
        self._replacements = np.setdiff1d(np.arange(tokenizer.vocabulary_size), self._special)
        self._lengths = np.arange(1, config.longest_span + 1)
        shares = (1 - config.span_end) ** (self._lengths - 1.0)
        self._shares = shares / shares.sum()

    def learn(self, parts: dict[str, Array], rng: Rng) -> list[Sample]:
        """Ids with some hidden, and labels where something is to be learned; at least one token is."""
        ids = parts["ids"]
        places = self.open_places(ids)
        if not len(places):
            return []
        unit_A = self._units(ids, places)
        together = self.config.longest_span > 1
        taken_U = self._spans(np.bincount(unit_A), rng) if together else self._singles(unit_A[-1] + 1, rng)
        chosen = places[taken_U[unit_A]]
        if together:
            run_U = np.cumsum(taken_U & ~np.append(False, taken_U[:-1])) - 1
            fate = rng.random(run_U[-1] + 1)[run_U[unit_A[taken_U[unit_A]]]]
        else:
            fate = rng.random(len(chosen))
        seen, labels = ids.copy(), np.full(len(ids), IGNORED, np.int64)
        labels[chosen] = ids[chosen]
        seen[chosen[fate < 0.8]] = self.tokenizer.mask_id
        swapped = chosen[(fate >= 0.8) & (fate < 0.9)]
        seen[swapped] = rng.choice(self._replacements, len(swapped))
        return [Sample({"source": seen}, {"labels": labels})]

    def _units(self, ids: Array, places: Array) -> Array:
        """The number of the unit that each place belongs to, int64 [A], counted from 0; a special id ends a unit."""
        if not self.config.whole_units:
            return np.arange(len(places))
        goes_on = self.tokenizer.continues(ids)[places] & (np.diff(places, prepend=-2) == 1)
        return np.cumsum(~goes_on) - 1

    def _singles(self, num_units: int, rng: Rng) -> Array:
        """Which units are chosen, each for itself, bool [U]."""
        taken_U = rng.random(num_units) < self.config.rate
        if not taken_U.any():
            taken_U[rng.choice(num_units, 1)] = True
        return taken_U

    def _spans(self, sizes_U: Array, rng: Rng) -> Array:
        """Which units are chosen, bool [U]: spans that begin anywhere, until the share of tokens is reached."""
        num_units, left = len(sizes_U), max(1, round(self.config.rate * int(sizes_U.sum())))
        taken_U = np.zeros(num_units, dtype=bool)
        lengths_U = rng.choice(self._lengths, num_units, p=self._shares)
        for start, length in zip(rng.permutation(num_units).tolist(), lengths_U.tolist(), strict=True):
            for unit in range(start, min(start + length, num_units)):
                if left > 0 and not taken_U[unit]:
                    taken_U[unit] = True
                    left -= int(sizes_U[unit])
            if left <= 0:
                break
        return taken_U
