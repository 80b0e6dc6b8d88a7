"""Words and sentences among the pieces of a text: which ids go on a word, and which end a sentence."""

from __future__ import annotations

from anyformer.task import Array, Tokenizer

BREAK = b"\n"
SPACE = (b" ", BREAK, b"\t")
MARKS = (b".", b"!", b"?", BREAK, "。".encode())
"""What the last piece of a sentence ends with."""


class Pieces(Tokenizer):
    """A tokenizer whose last ids stand for bytes of UTF-8, the space before a word being part of the word's first piece."""

    pieces: list[bytes]
    """The UTF-8 bytes that each id after the special ones stands for."""

    def continues(self, ids: Array) -> Array:
        """Which of `ids` [L] go on the word of the id before them, bool [L]: a word begins with a space, or a line."""
        found = super().continues(ids)
        before = BREAK
        for place, piece in enumerate(self._pieces_of(ids)):
            found[place] = piece and not piece.startswith(SPACE) and not before.endswith(BREAK)
            before = piece or BREAK
        return found

    def closes(self, ids: Array) -> Array:
        """Which of `ids` [L] end a sentence, bool [L]: pieces that end with a full stop, or a mark like it."""
        found = super().closes(ids)
        found[:] = [piece.endswith(MARKS) for piece in self._pieces_of(ids)]
        return found

    def _pieces_of(self, ids: Array) -> list[bytes]:
        """The bytes of each id; of a special one, none."""
        first = self.vocabulary_size - len(self.pieces)
        return [self.pieces[index - first] if index >= first else b"" for index in ids.tolist()]
