"""Span corruption: an encoder reads a sequence with spans cut out, a decoder writes the spans (T5, Raffel et al. 2020,
https://arxiv.org/abs/1910.10683).

* Both sides name a span by one id: the tokenizer's sentinels in order, or, where it has none, the mask id each time, so that
  the order of the spans names them (GLM, Du et al. 2022, https://arxiv.org/abs/2103.10360). No row is added to the
  vocabulary, so a task that starts from the model finds the table it would have made.
* As many tokens and spans are hidden as `rate` and `span` say, whatever is drawn; only lengths and places are random.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from anyformer.objectives.items import ToSequence
from anyformer.objectives.spans import compose, lay_out, num_hidden
from anyformer.task import Array, Frozen, Rng, Sample, Tokenizer


class SpanCorruption(ToSequence):
    """An encoder-decoder learns the spans that were cut out of a sequence."""

    class Config(Frozen):
        """Of the objective."""

        context: int = Field(default=512, ge=1)
        """Tokens of a window at most, before spans are cut out."""
        rate: float = Field(default=0.15, gt=0, lt=1)
        """Share of the tokens that are cut out."""
        span: float = Field(default=3.0, ge=1)
        """Mean length of a span."""

    def __init__(self, config: Any, tokenizer: Tokenizer) -> None:
        super().__init__(config, tokenizer)
        num_sentinels = len(tokenizer.sentinel_ids)
        if not num_sentinels and tokenizer.mask_id is None:
            raise ValueError("span corruption needs a tokenizer with sentinel ids, or with a mask id in their place")
        needed = self._num_spans(config.context)
        if num_sentinels and needed > num_sentinels:
            raise ValueError(
                f"a window of {config.context} tokens loses {needed} spans, and the tokenizer has {num_sentinels} sentinels "
                "to name them; lower config.context or config.rate, or raise config.span"
            )

    def learn(self, parts: dict[str, Array], rng: Rng) -> list[Sample]:
        """What is left with one id for each span, and the spans, each behind its id."""
        ids = parts["ids"]
        places = self.open_places(ids)
        if not len(places):
            return []
        total = num_hidden(len(places), self.config.rate)
        lengths = compose(total, self._num_spans(len(places)), rng)
        hidden = np.zeros(len(ids), dtype=bool)
        for start, end in zip(*lay_out(lengths, len(places), rng), strict=True):
            hidden[places[start:end]] = True
        # A special id within a span makes two of it; those that no sentinel is left for stay.
        run = np.cumsum(_begins(hidden)) - 1
        hidden &= run < (len(self.tokenizer.sentinel_ids) or len(ids))
        begins = _begins(hidden)
        names = self._names(int(begins.sum()))
        seen = ids.copy()
        seen[begins] = names
        spans = np.insert(ids[hidden], np.flatnonzero(begins[hidden]), names)
        return [self.sample(seen[~hidden | begins], spans)]

    def _num_spans(self, length: int) -> int:
        """How many spans a sequence loses, as far as they can be kept apart."""
        total = num_hidden(length, self.config.rate)
        return max(1, min(round(total / self.config.span), length - total + 1))

    def _names(self, count: int) -> Array:
        """The id of each span."""
        sentinels = self.tokenizer.sentinel_ids[:count]
        return np.array(sentinels or [self.tokenizer.mask_id] * count, dtype=np.int64)


def _begins(hidden: Array) -> Array:
    """Where runs of hidden tokens begin, bool [L]."""
    return hidden & ~np.append(False, hidden[:-1])
