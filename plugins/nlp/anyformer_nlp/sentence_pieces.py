"""Tokenizers of checkpoints that the SentencePiece library runs (Kudo and Richardson 2018): T5, Llama and Marian.

The library reads the names of control pieces (`</s>`) in a text as text, so none can be spelled.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from anyformer_nlp.engines import Spans, Template, around
from anyformer_nlp.tokenizer_files import Files, extra_tokens, named_tokens, read_json, read_vocabulary

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"


class SentencePieces:
    """A model whose ids are those of the checkpoint, with the template of T5 or of Llama.

    T5 has sentinels (Raffel et al. 2020) above the pieces, counted down from the last id.
    """

    def __init__(self, files: Files, name: str, family: Literal["t5", "llama"]) -> None:
        self.model = _load(files, name)
        config = read_json(files, "tokenizer_config.json")
        count = self.model.get_piece_size()
        self.ids = {self.model.id_to_piece(index): index for index in range(count)}
        extra = config.get("extra_ids", 100) if family == "t5" else 0
        if type(extra) is not int or not 0 <= extra <= 10_000:
            raise ValueError(f"cannot read tokenizer_config.json: extra_ids is {str(extra)[:40]!r}; give 0 to 10000")
        self.size = count + extra
        sentinels = {f"<extra_id_{place}>": self.size - 1 - place for place in range(extra)}
        self.ids |= {token: index for token, index in sentinels.items() if token not in self.ids}
        named = [token["content"] for token in [*named_tokens(files).values(), *extra_tokens(files)]]
        self.special = frozenset(
            index
            for token, index in self.ids.items()
            if index >= count or token in named or self.model.is_control(index) or self.model.is_unknown(index)
        )
        self.count, self.template = count, self._template(family, config)

    def _template(self, family: str, config: dict[str, Any]) -> Template:
        start, end = self.model.bos_id(), self.model.eos_id()
        if family == "t5":
            return around((), (end,), (0, 0))
        before = (start,) if config.get("add_bos_token", True) and start >= 0 else ()
        return around(before, (end,) if config.get("add_eos_token", False) and end >= 0 else (), (0, 1))

    def id_of(self, token: str) -> int | None:
        """The id of a piece or sentinel."""
        return self.ids.get(token)

    def encode(self, text: str) -> tuple[list[int], Spans]:
        """Ids and characters; a space belongs to the piece after it."""
        found = self.model.encode(text, return_type="offset_mapping")
        return found["ids"], _spans(found)

    def decode(self, ids: list[int], final: bool) -> str:
        """The text. Spaces before the first word are taken off, as where a dropped unknown piece leaves one."""
        text: str = self.model.decode([index for index in ids if index < self.count])
        return text if final else text.rstrip("\N{REPLACEMENT CHARACTER}")


class Marian:
    """Two models, of the source language and the target language, over one vocabulary that gives the pieces their ids.

    A code such as `>>fr<<` at the beginning of a text names the target language of a model that has many.
    """

    def __init__(self, files: Files) -> None:
        if read_json(files, "tokenizer_config.json").get("separate_vocabs"):
            raise ValueError("a Marian tokenizer with separate vocabularies cannot be read; one with a shared one can")
        self.source, self.target = _load(files, "source.spm"), _load(files, "target.spm")
        self.ids = read_vocabulary(files, "vocab.json")
        self.pieces = {index: piece for piece, index in self.ids.items()}
        self.size = max(self.pieces) + 1
        named = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
        named |= {role: token["content"] for role, token in named_tokens(files).items()}
        for role in ("eos_token", "unk_token"):
            if named[role] not in self.ids:
                raise ValueError(f"cannot read vocab.json: it has no {named[role]!r}, which Marian needs")
        tokens = [*named.values(), *(token["content"] for token in extra_tokens(files))]
        self.special = frozenset(self.ids[token] for token in tokens if token in self.ids)
        self.unknown, end = self.ids[named["unk_token"]], (self.ids[named["eos_token"]],)
        self.template = Template((), end, ((), (), end), ((), 0, (), 0, (0,)))

    def id_of(self, token: str) -> int | None:
        """The id of a piece."""
        return self.ids.get(token)

    def encode(self, text: str) -> tuple[list[int], Spans]:
        """Ids and characters of a text in the source language; a piece that the vocabulary lacks is unknown."""
        return self._encode(text, self.source)

    def encode_target(self, text: str) -> tuple[list[int], Spans]:
        """The same of a text in the target language."""
        return self._encode(text, self.target)

    def _encode(self, text: str, model: Any) -> tuple[list[int], Spans]:
        end = text.find("<<") + 2 if text.startswith(">>") and "<<" in text else 0
        found = model.encode(text[end:], return_type="offset_mapping")
        pieces = [*([text[:end]] if end else []), *found["pieces"]]
        spans = [*([(0, end)] if end else []), *((start + end, stop + end) for start, stop in _spans(found))]
        return [self._id(piece) for piece in pieces], spans

    def _id(self, piece: str) -> int:
        index = self.ids.get(piece, self.unknown)
        return self.unknown if index in self.special else index

    def decode(self, ids: list[int], final: bool) -> str:
        """The text in the target language."""
        pieces = [self.pieces[index] for index in ids if index in self.pieces]
        text = self.target.decode(pieces).replace(SPACE, " ").strip() if pieces else ""
        return text if final else text.rstrip("\N{REPLACEMENT CHARACTER}")


def _load(files: Files, name: str) -> Any:
    from sentencepiece import SentencePieceProcessor

    model = SentencePieceProcessor()
    with _damage(name):
        model.LoadFromSerializedProto(files[name])
    return model


@contextmanager
def _damage(name: str) -> Iterator[None]:
    """Whatever the library raises on a file as one `ValueError`."""
    try:
        yield
    except (RuntimeError, OSError, ValueError, TypeError, IndexError) as error:
        raise ValueError(f"cannot read {name}: the sentencepiece library says {f'{error}'[:100]!r}") from None


def _spans(found: dict[str, Any]) -> Spans:
    """Characters of each piece. Of a character in several byte pieces the library gives the last one alone a span."""
    spans: Spans = list(found["offsets"])
    pieces = found["pieces"]
    for place in range(len(spans) - 2, -1, -1):
        start, end = spans[place]
        if start == end == spans[place + 1][0] and all(_is_byte(piece) for piece in pieces[place : place + 2]):
            spans[place] = spans[place + 1]
    return spans


def _is_byte(piece: str) -> bool:
    return len(piece) == 6 and piece.startswith("<0x")
