"""`Words`: a text as the words and marks that a corpus has often enough.

It suits corpora of a few thousand short texts, where pieces of words are too rare to learn from. Scripts without spaces
between words need `anyformer_nlp.tokenizers.Bpe`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from anyformer.task import Array, Rng
from anyformer_nlp.tokenizers import NUM_SPECIAL, TextTokenizer, read_file

WORD = re.compile(r"\w+|[^\w\s]")
"""A run of letters, digits and underscores, or one other visible character."""


class Words(TextTokenizer):
    """One id for each word or mark seen often enough, one more for all others: for corpora too small for more.

    Lossy: `decode` joins words by spaces, and an unknown word comes back as U+FFFD.
    """

    class Config(TextTokenizer.Config):
        """Size of the vocabulary, and what a text may be."""

        lowercase: bool = True
        vocabulary_size: int = Field(default=30_000, ge=NUM_SPECIAL + 2)
        """The most ids, special ones and the unknown one included."""
        min_frequency: int = Field(default=2, ge=1)
        """A word seen less often is unknown."""

    config: Config

    def fit(self, corpus: Iterable[Any], rng: Rng) -> None:
        """Count the words; the most frequent come first, equals in order of the alphabet."""
        counts = Counter(word for text in self.texts(corpus) for word in WORD.findall(text))
        often = sorted((-count, word) for word, count in counts.items() if count >= self.config.min_frequency)
        self._read_words([word for _, word in often[: self.config.vocabulary_size - NUM_SPECIAL - 1]])

    def save(self, folder: Path) -> None:
        """Write `words.json`."""
        (folder / "words.json").write_text(json.dumps(self.words, ensure_ascii=False, indent=0), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read `words.json`."""
        path = folder / "words.json"
        try:
            words = json.loads(read_file(path))
        except json.JSONDecodeError:
            words = None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError(f"cannot read {path.name}: it is no list of words that this tokenizer wrote")
        self._read_words(words)

    def _read_words(self, words: list[str]) -> None:
        self.words = words
        self.index = {word: index for index, word in enumerate(words)}
        self.learn_pieces([f" {word}".encode() for word in [*words, "\N{REPLACEMENT CHARACTER}"]])

    def _ids(self, text: str) -> Array:
        unknown = len(self.words)
        return np.array([self.index.get(word, unknown) for word in WORD.findall(text)], dtype=np.int64)

    def _spans(self, text: str, ids: Array) -> Array:
        return np.array([word.span() for word in WORD.finditer(text)], dtype=np.int64).reshape(-1, 2)

    def decode(self, ids: Array, final: bool = True) -> str:
        """The words of ids [L], joined by spaces."""
        return super().decode(ids, final).removeprefix(" ")
