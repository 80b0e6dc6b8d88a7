"""Next token (Radford et al. 2018): a decoder learns each token from those before it.

* All items are laid end to end, each closed by the end id, and cut into windows of `context` tokens, each a record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from anyformer.objectives.items import OverIds
from anyformer.task import Array, Frozen, Rng, Sample

if TYPE_CHECKING:
    from anyformer.nn import Embedding
    from anyformer.nn.config import Trunk


class NextToken(OverIds):
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
        stream = [ids for item in raw for ids in (self.ids(item), *end)]
        return _Windows(np.concatenate(stream) if stream else np.zeros(0, np.int64), self.config.context)

    def learn(self, parts: dict[str, Array], rng: Rng) -> list[Sample]:
        """Ids shifted by one."""
        ids = parts["ids"]
        return [Sample({"target": ids[:-1]}, {"labels": ids[1:]})]


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
