"""Text to ids and back: `Bpe`, `Bytes`, and what they share with `anyformer_nlp.words`.

* Ids 0, 1 and 2 are start, end and mask, and what is learned begins at 3. The special ids exist beside the text, never
  in it: no spelling of a text (`<s>`, `[MASK]`) can become one.
* `Bpe` and `Bytes` read any Unicode text without loss, so nothing is unknown.
* A text is one `str`; a lone surrogate, which is no character, and a text beyond `max_characters` are refused before
  anything is computed.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from anyformer.task import Array, Frozen, Rng
from anyformer_nlp.spans import spans_before_lower, spans_of_bytes
from anyformer_nlp.units import Pieces

if TYPE_CHECKING:
    from pathlib import Path

START, END, MASK = range(3)
NUM_SPECIAL = 3
LONGEST_WORD = 200
"""Characters without a space that are learned and read as one word."""


class TextTokenizer(Pieces):
    """What the tokenizers of text share: the special ids, the checks of a text, and the way back through bytes."""

    class Config(Frozen):
        """What a text may be."""

        lowercase: bool = False
        """Lower the text first: fewer forms to learn from little data, and no way back to capitals."""
        max_characters: int = Field(default=1_000_000, ge=1)
        """A longer text is refused: read a book by its chapters or lines."""

    config: Config
    start_id: int | None = START
    """The id set before a text; None if the tokenizer has none."""
    end_id: int | None = END
    mask_id: int | None = MASK
    special_ids = frozenset((START, END, MASK))

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.learn_pieces([])

    def learn_pieces(self, pieces: list[bytes]) -> None:
        """Set the vocabulary: the bytes of each id after the special ones."""
        self.pieces = pieces
        self.vocabulary_size = NUM_SPECIAL + len(pieces)

    def _ids(self, text: str) -> Array:
        """Ids of a checked text, counted from 0, int64 [L]."""
        raise NotImplementedError

    def _spans(self, text: str, ids: Array) -> Array:
        """Characters of a checked text that its ids [L], as `_ids` gave them, stand for: int64 [L, 2]."""
        raise NotImplementedError

    def encode(self, raw: Any) -> dict[str, Array]:
        """A text to `{"ids": int64 [L]}`, without start and end; raises `ValueError` for what cannot be read."""
        text = self._checked(raw)
        if not self.pieces:
            raise ValueError(f"this {type(self).__name__} tokenizer has learned nothing yet; call fit or load first")
        return {"ids": self._ids(text) + NUM_SPECIAL}

    def encode_spans(self, raw: Any) -> tuple[Array, Array]:
        """Ids as `encode` gives them, int64 [L], and the characters [from, to) of `raw` each stands for, int64 [L, 2].

        Characters are counted before the text is lowered. An id that is one byte of a character has that character.
        """
        ids = self.encode(raw)["ids"]
        text = self._checked(raw)
        return ids, spans_before_lower(self._spans(text, ids - NUM_SPECIAL), raw, text)

    def encode_target(self, raw: Any) -> dict[str, Array]:
        """As `encode`, of a text in the language that the model writes, where a tokenizer tells the two apart."""
        return self.encode(raw)

    def single(self, ids: Array) -> Array:
        """Ids of one text [L] with the special ids around them, int64 [L + num_special()]."""
        return np.array([self.start_id, *ids, self.end_id], dtype=np.int64)

    def pair(self, first: Array, second: Array) -> tuple[Array, Array]:
        """Ids of two texts with the special ids around and between them, and the segment of each, 0 or 1: both int64."""
        ids = np.array([self.start_id, *first, self.end_id, *second, self.end_id], dtype=np.int64)
        return ids, (np.arange(len(ids)) >= len(first) + 2).astype(np.int64)

    def num_special(self, pair: bool = False) -> int:
        """How many ids `single`, or `pair`, adds."""
        return 3 if pair else 2

    def decode(self, ids: Array, final: bool = True) -> str:
        """The text of ids [L]; special ids are dropped, bytes that are no UTF-8 become U+FFFD.

        With `final=False` a last character whose bytes are not all there is held back, so that the text of any
        beginning of `ids` is a beginning of the text.
        """
        found = np.asarray(ids, dtype=np.int64)
        if found.size and (found.min() < 0 or found.max() >= self.vocabulary_size):
            raise ValueError(f"ids must be from 0 to {self.vocabulary_size - 1}; got {found.min()} to {found.max()}")
        data = b"".join(self.pieces[index - NUM_SPECIAL] for index in found.tolist() if index >= NUM_SPECIAL)
        return codecs.getincrementaldecoder("utf-8")("replace").decode(data, final)

    def _checked(self, raw: Any) -> str:
        """`raw` as a text that can be read, lowered if so configured."""
        if not isinstance(raw, str):
            raise ValueError(f"a text is expected; got {type(raw).__name__}: {str(raw)[:60]!r}")
        longest = self.config.max_characters
        if len(raw) > longest:
            raise ValueError(
                f"the text has {len(raw):,} characters; at most {longest:,} are accepted: split it, "
                "or set the tokenizer's max_characters"
            )
        if not raw.isascii():
            try:
                raw.encode()
            except UnicodeEncodeError as error:
                raise ValueError(
                    f"the text has {raw[error.start]!r} at character {error.start + 1:,}, a lone surrogate; "
                    "decode the file as UTF-8, or remove it"
                ) from None
        return raw.lower() if self.config.lowercase else raw

    def texts(self, corpus: Iterable[Any]) -> Iterator[str]:
        """The texts of a corpus, checked; raises `ValueError` if there is not one that is not empty."""
        empty = True
        for raw in corpus:
            text = self._checked(raw)
            if text:
                empty = False
                yield text
        if empty:
            raise ValueError(f"the corpus has no text; a {type(self).__name__} tokenizer needs some to learn from")


class Bytes(TextTokenizer):
    """One id for each byte of UTF-8: nothing to learn, nothing unknown, long sequences (Xue et al. 2022)."""

    def __init__(self, config: TextTokenizer.Config) -> None:
        super().__init__(config)
        self.learn_pieces([bytes([value]) for value in range(256)])

    def _ids(self, text: str) -> Array:
        return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64)

    def _spans(self, text: str, ids: Array) -> Array:
        return spans_of_bytes(text, np.ones(len(ids), dtype=np.int64))


class Bpe(TextTokenizer):
    """Byte-pair encoding over bytes (Sennrich et al. 2016; Radford et al. 2019), learned and run by the Rust library.

    A space is set before the text and taken off again: a word has the same ids at the beginning as in the middle.
    `tokenizer.json` is the library's own format, without the special ids.
    """

    class Config(TextTokenizer.Config):
        """Size of the vocabulary, and what a text may be."""

        vocabulary_size: int = Field(default=8000, ge=NUM_SPECIAL + 256)
        """The most ids, special ones and the 256 bytes included; a small corpus yields fewer."""
        min_frequency: int = Field(default=2, ge=1)
        """A pair seen less often is not merged."""

    config: Config

    def fit(self, corpus: Iterable[Any], rng: Rng) -> None:
        """Learn the merges from texts; the same corpus gives the same ids."""
        from tokenizers import Regex, models, pre_tokenizers, trainers
        from tokenizers import Tokenizer as RustTokenizer

        self.rust = RustTokenizer(models.BPE())
        # Learning takes the square of a word's length in time, and a text without spaces is one word.
        pieces = pre_tokenizers.Split(Regex(rf"\S{{{LONGEST_WORD}}}"), "isolated")
        self.rust.pre_tokenizer = pre_tokenizers.Sequence([pieces, pre_tokenizers.ByteLevel(add_prefix_space=False)])
        trainer = trainers.BpeTrainer(
            vocab_size=self.config.vocabulary_size - NUM_SPECIAL,
            min_frequency=self.config.min_frequency,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        with readable("learn from this corpus"):
            self.rust.train_from_iterator((f" {text}" for text in self.texts(corpus)), trainer)
        self._read_pieces()

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`."""
        (folder / "tokenizer.json").write_text(self.rust.to_str(pretty=True), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read `tokenizer.json`."""
        from tokenizers import Tokenizer as RustTokenizer

        path = folder / "tokenizer.json"
        with readable(f"read {path.name}, which is no tokenizer it wrote"):
            self.rust = RustTokenizer.from_str(read_file(path))
        self._read_pieces()

    def _read_pieces(self) -> None:
        byte_of = _byte_of_symbol()
        symbols = sorted(self.rust.get_vocab().items(), key=lambda item: item[1])
        self.learn_pieces([bytes(byte_of[symbol] for symbol in piece) for piece, _ in symbols])

    def _ids(self, text: str) -> Array:
        with readable("read this text"):
            return np.array(self.rust.encode(f" {text}").ids if text else [], dtype=np.int64)

    def _spans(self, text: str, ids: Array) -> Array:
        """A space that begins a piece belongs to it; the one that `encode` set before the text is no character of it."""
        spans = spans_of_bytes(f" {text}", np.array([len(self.pieces[index]) for index in ids], dtype=np.int64))
        return np.maximum(spans - 1, 0)

    def decode(self, ids: Array, final: bool = True) -> str:
        """As `TextTokenizer.decode`, without the space that `encode` set before the text."""
        return super().decode(ids, final).removeprefix(" ")


def _byte_of_symbol() -> dict[str, int]:
    """The byte that each character of the library's byte alphabet stands for (Radford et al. 2019): a byte that Latin-1
    prints is itself, the others, in order, are the characters from U+0100 on.
    """
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [value for value in range(256) if value not in printed]
    return {chr(value): value for value in printed} | {chr(0x100 + place): value for place, value in enumerate(others)}


def read_file(path: Path) -> str:
    """A file of a saved tokenizer; raises `ValueError` if there is none."""
    if not path.is_file():
        raise ValueError(f"{path.parent} has no {path.name}; give the folder of a saved tokenizer")
    return path.read_text(encoding="utf-8")


@contextmanager
def readable(doing: str) -> Iterator[None]:
    """Whatever the Rust library raises, its panics included, as one `ValueError`."""
    try:
        yield
    except ValueError:
        raise
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise ValueError(f"the tokenizers library cannot {doing}: {f'{error}'[:200]!r}") from None
        raise
