"""`Tokenizer`: the contract of what turns raw data into model inputs and back. Imported from `anyformer.task`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from anyformer.values import Array, Frozen, Rng

if TYPE_CHECKING:
    from pathlib import Path


class Tokenizer:
    """Turns raw data into model inputs, ids or continuous patches, and back. Pure CPU, saved with the model.

    A tokenizer of ids sets `vocabulary_size`; one of continuous patches sets `patch_width` instead.
    """

    Config: type[Frozen] = Frozen
    """What a user may set, e.g. the size of the vocabulary."""
    vocabulary_size: int = 0
    """Number of ids; 0 for continuous patches."""
    patch_width: int = 0
    """Number of values in a patch; 0 for ids."""
    mask_id: int | None = None
    """The id that hides a token in masked-token pretraining; None if the tokenizer has none."""
    end_id: int | None = None
    """The id that ends a sequence."""
    start_id: int | None = None
    """The id that a decoder begins with; None: the end id, as BART has it."""
    sentinel_ids: tuple[int, ...] = ()
    """Ids that stand for hidden spans, in the order of their use (T5)."""
    patch_overlap: int = 0
    """Values that a patch shares with the next one, from which a hidden patch could be read."""
    registered_id: str | None = None
    """The id under which a plugin registers it, where it was chosen by id rather than by its task."""
    special_ids: frozenset[int] = frozenset()
    """Ids that stand for no data (start, end, mask): never masked, never chosen as a random replacement."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def fit(self, corpus: Iterable[Any], rng: Rng) -> None:
        """Learn from raw items of the training part. A tokenizer that has nothing to learn leaves this as it is."""

    def encode(self, raw: Any) -> dict[str, Array]:
        """Raw data to parts. An ids tokenizer returns `{"ids": int64 [L]}`, a patch tokenizer `{"patches": float32 [L, P]}`.

        Raises `ValueError` for raw data it cannot read, saying what was given and what is possible.
        """
        raise NotImplementedError

    def decode(self, ids: Array, final: bool = True) -> Any:
        """Ids back to raw data. `final=False`: more will follow, so an incomplete trailing unit is held back."""
        raise NotImplementedError

    def continues(self, ids: Array) -> Array:
        """Which of `ids` [L] go on the unit (the word) of the id before them, bool [L]: by default every id is a unit."""
        return np.zeros(len(ids), dtype=bool)

    def closes(self, ids: Array) -> Array:
        """Which of `ids` [L] end a segment (a sentence), bool [L]: by default none does."""
        return np.zeros(len(ids), dtype=bool)

    def save(self, folder: Path) -> None:
        """Write what `fit` learned, as JSON or safetensors, into an existing folder. The caller saves `config`."""

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""

    @classmethod
    def read(cls, folder: Path, config: Mapping[str, Any]) -> Tokenizer:
        """The tokenizer of a checkpoint folder of another library, whose `config.json` is `config`.

        Raises `ValueError` if its files are damaged. Only a tokenizer that a family names has this.
        """
        raise NotImplementedError

    def write(self, folder: Path) -> bool:
        """Write the files that the other library reads into `folder`; False where it has none that could be read there."""
        return False
