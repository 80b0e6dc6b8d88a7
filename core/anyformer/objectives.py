"""Pretraining without labels, over any tokenizer of ids: next token and masked token.

* Next token (Radford et al. 2018): all items laid end to end and cut into windows of `context` tokens, each a record.
* Masked token (Devlin et al. 2019): each item is cut into windows of at most `context` tokens; of the tokens chosen, 80 %
  become the mask, 10 % a random token, 10 % stay. The vocabulary is projected at the chosen tokens only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from anyformer.heads.loss import IGNORED
from anyformer.nn import Embedding, Head
from anyformer.nn.build import embedding_for
from anyformer.nn.config import Trunk
from anyformer.task import Array, Frozen, Objective, Rng, Sample, Tokenizer


class _OverIds(Objective):
    """What both objectives share: the ids of all items, cut into windows."""

    stream: ClassVar[str]

    def __init__(self, config: Any, tokenizer: Tokenizer) -> None:
        if not tokenizer.vocabulary_size:
            raise ValueError("this objective needs a tokenizer of ids; the one given makes continuous patches")
        super().__init__(config, tokenizer)

    def embedding(self, trunk: Trunk) -> Embedding:
        """The default embedding of the tokenizer."""
        return embedding_for(trunk, {self.stream: self.tokenizer})

    def head(self, trunk: Trunk) -> Head:
        """A language model tied to the token table."""
        from anyformer.heads import LanguageModel

        return LanguageModel(trunk.output.width, self.tokenizer.vocabulary_size, stream=self.stream)

    def _ids(self, item: Any) -> Array:
        ids = next(iter(self.tokenizer.encode(raw_item(item)).values()))
        assert ids.ndim == 1
        return ids


class NextToken(_OverIds):
    """A decoder learns each token from those before it."""

    class Config(Frozen):
        """Of the objective."""

        context: int = Field(default=256, ge=2)
        """Tokens of a window."""

    trunk = "decoder"
    stream = "target"
    default_trunk: ClassVar[Mapping[str, Any]] = {"decoder": {"causal": True}}

    def embedding(self, trunk: Trunk) -> Embedding:
        """The default embedding. Raises `ValueError` for a decoder that would see the token it is to say."""
        if trunk.decoder is not None and not trunk.decoder.causal:
            raise ValueError("next-token learns each token from those before it: trunk.decoder.causal must be true")
        return super().embedding(trunk)

    def records(self, raw: Sequence[Any]) -> Sequence[dict[str, Array]]:
        """Windows of `context` + 1 tokens that overlap by one, so that every token is learned once."""
        end = [] if self.tokenizer.end_id is None else [np.array([self.tokenizer.end_id])]
        stream = [ids for item in raw for ids in (self._ids(item), *end)]
        return _Windows(np.concatenate(stream) if stream else np.zeros(0, np.int64), self.config.context)

    def learn(self, parts: dict[str, Array], rng: Rng) -> list[Sample]:
        """Ids shifted by one."""
        ids = parts["ids"]
        return [Sample({"target": ids[:-1]}, {"labels": ids[1:]})]


class MaskedToken(_OverIds):
    """An encoder learns hidden tokens from those around them."""

    class Config(Frozen):
        """Of the objective."""

        context: int = Field(default=512, ge=1)
        """Tokens of a window at most."""
        rate: float = Field(default=0.15, gt=0, lt=1)
        """Share of the tokens that are learned."""

    trunk = "encoder"
    stream = "source"
    default_trunk: ClassVar[Mapping[str, Any]] = {"encoder": {}}

    def __init__(self, config: Any, tokenizer: Tokenizer) -> None:
        super().__init__(config, tokenizer)
        if tokenizer.mask_id is None:
            raise ValueError("masked-token pretraining needs a tokenizer with a mask id")
        self._replacements = np.setdiff1d(np.arange(tokenizer.vocabulary_size), sorted(tokenizer.special_ids))

    def records(self, raw: Sequence[Any]) -> Sequence[dict[str, Array]]:
        """Each item in windows of at most `context` tokens; nothing is left out."""
        size = self.config.context
        encoded = (self._ids(item) for item in raw)
        return [{"ids": ids[start : start + size]} for ids in encoded for start in range(0, len(ids), size)]

    def learn(self, parts: dict[str, Array], rng: Rng) -> list[Sample]:
        """Ids with some hidden, and labels where something is to be learned; at least one token is."""
        ids = parts["ids"]
        allowed = np.flatnonzero(~np.isin(ids, sorted(self.tokenizer.special_ids)))
        if not len(allowed):
            return []
        chosen = allowed[rng.random(len(allowed)) < self.config.rate]
        if not len(chosen):
            chosen = rng.choice(allowed, 1)
        fate = rng.random(len(chosen))
        seen, labels = ids.copy(), np.full(len(ids), IGNORED, np.int64)
        labels[chosen] = ids[chosen]
        seen[chosen[fate < 0.8]] = self.tokenizer.mask_id
        swapped = chosen[(fate >= 0.8) & (fate < 0.9)]
        seen[swapped] = rng.choice(self._replacements, len(swapped))
        return [Sample({"source": seen}, {"labels": labels})]


OBJECTIVES: dict[str, type[NextToken] | type[MaskedToken]] = {"next-token": NextToken, "masked-token": MaskedToken}


class _Windows(Sequence[dict[str, Array]]):
    """A long array of ids seen as windows; views, without a copy."""

    def __init__(self, ids: Array, context: int) -> None:
        self.ids, self.context = ids, context

    def __len__(self) -> int:
        return max(0, -(-(len(self.ids) - 1) // self.context))

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = index * self.context
        return {"ids": self.ids[start : start + self.context + 1]}


def raw_item(row: Any) -> Any:
    """What the tokenizer gets of a raw row: the only column beside `id`, or the one called `text`."""
    if not isinstance(row, Mapping):
        return row
    columns = [name for name in row if name != "id"]
    if len(columns) == 1:
        return row[columns[0]]
    if "text" in row:
        return row["text"]
    raise ValueError(
        f"which column is to be learned? Name it 'text' with columns; there are: {', '.join(map(repr, row))}"
    )
