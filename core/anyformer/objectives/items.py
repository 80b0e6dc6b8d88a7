"""What the objectives share: raw items, and the ids of an item cut into windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from anyformer.task import Array, Objective, Sample, Tokenizer

if TYPE_CHECKING:
    from anyformer.nn import Embedding, Head
    from anyformer.nn.config import Trunk


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


class OverIds(Objective):
    """An objective over ids. A record is a window of one item: `{"ids": int64 [L]}`, L at most `config.context`."""

    stream: ClassVar[str]
    """The stream that the head reads."""

    def __init__(self, config: Any, tokenizer: Tokenizer) -> None:
        if not tokenizer.vocabulary_size:
            raise ValueError("this objective needs a tokenizer of ids; the one given makes continuous patches")
        super().__init__(config, tokenizer)
        self._special = sorted(tokenizer.special_ids)

    def records(self, raw: Sequence[Any]) -> Sequence[dict[str, Array]]:
        """Each item in windows of at most `context` tokens; nothing is left out."""
        size = self.config.context
        encoded = (self.ids(item) for item in raw)
        return [{"ids": ids[start : start + size]} for ids in encoded for start in range(0, len(ids), size)]

    def embedding(self, trunk: Trunk) -> Embedding:
        """The default embedding of the tokenizer."""
        from anyformer.nn.build import embedding_for

        return embedding_for(trunk, {self.stream: self.tokenizer})

    def head(self, trunk: Trunk) -> Head:
        """A language model tied to the token table."""
        from anyformer.heads import LanguageModel

        return LanguageModel(trunk.output.width, self.tokenizer.vocabulary_size, stream=self.stream)

    def ids(self, item: Any) -> Array:
        """The ids of a raw item, int64 [L]."""
        ids = next(iter(self.tokenizer.encode(raw_item(item)).values()))
        assert ids.ndim == 1
        return ids

    def open_places(self, ids: Array) -> Array:
        """Where `ids` [L] have something that may be hidden, int64 [A]: everywhere but at special ids."""
        return np.flatnonzero(~np.isin(ids, self._special))


class ToSequence(OverIds):
    """An objective of an encoder that reads what is left of a window, and a decoder that writes what is to be learned."""

    trunk = "both"
    stream = "target"
    default_trunk: ClassVar[Mapping[str, Any]] = {"encoder": {}, "decoder": {"causal": True, "cross": True}}

    def __init__(self, config: Any, tokenizer: Tokenizer) -> None:
        super().__init__(config, tokenizer)
        begin = tokenizer.end_id if tokenizer.start_id is None else tokenizer.start_id
        if begin is None:
            raise ValueError("a decoder begins with an id, and this tokenizer has neither a start nor an end id")
        self._begin = [begin]
        self._end = [] if tokenizer.end_id is None else [tokenizer.end_id]

    def embedding(self, trunk: Trunk) -> Embedding:
        """The default embedding. Raises `ValueError` for a decoder that would see the token it is to say, or no source."""
        decoder = trunk.decoder
        if decoder is not None and not (decoder.causal and decoder.cross):
            raise ValueError(
                "the decoder writes a token from those before it and from the encoder's output: "
                "trunk.decoder.causal and trunk.decoder.cross must be true"
            )
        return super().embedding(trunk)

    def sample(self, source: Array, target: Array) -> Sample:
        """Ids to read and ids to write, both closed by the end id where there is one."""
        written = np.concatenate([target, self._end]).astype(np.int64)
        parts = {
            "source": np.concatenate([source, self._end]).astype(np.int64),
            "target": np.concatenate([self._begin, written[:-1]]).astype(np.int64),
        }
        return Sample(parts, {"labels": written})
