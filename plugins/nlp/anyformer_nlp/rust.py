"""Tokenizers of checkpoints that the Rust library runs: `tokenizer.json`, `vocab.txt`, `vocab.json` with `merges.txt`.

* Truncation and padding that a file asks for are taken off: the model's own bound speaks for itself.
* The template of special ids is read from an encoding of a probe, so that any post-processor will do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from anyformer_nlp.engines import Spans, Template
from anyformer_nlp.tokenizer_files import (  # fmt: skip
    Files,
    added_tokens,
    class_name,
    extra_tokens,
    named_tokens,
    read_json,
    read_text,
    read_vocabulary,
)
from anyformer_nlp.tokenizers import readable

BYTE = re.compile("<0x[0-9A-F]{2}>")
BYTE_LEVEL = ("GPT2Tokenizer", "RobertaTokenizer", "BartTokenizer", "LongformerTokenizer", "LEDTokenizer")
"""Classes whose `vocab.json` and `merges.txt` are bytes split as GPT-2 splits them."""
WORD_PIECE = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer", "ConvBertTokenizer")
"""Classes whose `vocab.txt` is read as BERT's."""
ANY = ("", "PreTrainedTokenizer", "TokenizersBackend")
"""What says nothing of a class."""


class Rust:
    """A tokenizer of the Rust library, with the special tokens that the files beside it name."""

    def __init__(self, rust: Any, files: Files, special_in_text: bool) -> None:
        self.rust, self.special_in_text = rust, special_in_text
        rust.no_truncation()
        rust.no_padding()
        self._add_tokens(files)
        rust.encode_special_tokens = not special_in_text
        self.special = frozenset(index for index, token in rust.get_added_tokens_decoder().items() if token.special)
        vocabulary = rust.get_vocab()
        self.size = max(vocabulary.values(), default=-1) + 1
        self.template = _template(rust, self.special)
        unknown = named_tokens(files).get("unk_token", {}).get("content") or getattr(rust.model, "unk_token", None)
        self.unknown = None if unknown is None else rust.token_to_id(unknown)
        self.token_of = {index: token for token, index in vocabulary.items() if index in self.special}
        falls_back = "ByteFallback" in repr(rust.decoder)
        self.bytes = {index for token, index in vocabulary.items() if falls_back and BYTE.fullmatch(token)}

    def _add_tokens(self, files: Files) -> None:
        """Make the tokens known that stand beside the vocabulary, and the named ones special."""
        from tokenizers import AddedToken

        for index, token in added_tokens(files).items():
            settings = {"special": False, **token}
            if self.rust.token_to_id(token["content"]) is None:
                self.rust.add_tokens([AddedToken(**settings)])
            found = self.rust.token_to_id(token["content"])
            if found != index:
                raise ValueError(
                    f"the files disagree on the id of {token['content'][:40]!r}: {index} where tokens are added, "
                    f"{found} in the vocabulary; download them again"
                )
            if settings["special"]:
                self.rust.add_special_tokens([AddedToken(**settings)])
        for token in [*named_tokens(files).values(), *extra_tokens(files)]:
            known = self.rust.get_added_tokens_decoder().get(self.rust.token_to_id(token["content"]))
            if self.rust.token_to_id(token["content"]) is not None and not (known and known.special):
                self.rust.add_special_tokens([AddedToken(**{**token, "special": True})])

    def id_of(self, token: str) -> int | None:
        """The id of a token."""
        found: int | None = self.rust.token_to_id(token)
        return found

    def encode(self, text: str) -> tuple[list[int], Spans]:
        """Ids and characters."""
        with readable("read this text"):
            encoding = self.rust.encode(text, add_special_tokens=False)
            ids, spans = list(encoding.ids), list(encoding.offsets)
            if not self.special_in_text and not (self.special - {self.unknown}).isdisjoint(ids):
                ids, spans = self._respell(ids, spans)
        return ids, spans

    def _respell(self, ids: list[int], spans: Spans) -> tuple[list[int], Spans]:
        """Ids where a special token that a model of words found in the text is spelled by the ids of its letters."""
        pairs: list[tuple[int, tuple[int, int]]] = []
        for index, (start, end) in zip(ids, spans, strict=True):
            token = self.token_of.get(index)
            if token is None or index == self.unknown:
                pairs.append((index, (start, end)))
                continue
            aligned = end - start == len(token)
            for place, letter in enumerate(token):
                found = [piece.id for piece in self.rust.model.tokenize(letter) if piece.id not in self.special]
                if not found and self.unknown is None:
                    raise ValueError(
                        f"the text has {token!r}, a special token that no other ids can spell; remove it, "
                        "or set the tokenizer's special_in_text"
                    )
                span = (start + place, start + place + 1) if aligned else (start, end)
                pairs += [(piece, span) for piece in found or [self.unknown or 0]]
        return [index for index, _ in pairs], [span for _, span in pairs]

    def decode(self, ids: list[int], final: bool) -> str:
        """The text. A run of single bytes is one unit to the library, so all of it waits for what follows."""
        while ids and not final and ids[-1] in self.bytes:
            ids = ids[:-1]
        with readable("write these ids"):
            text: str = self.rust.decode(ids, skip_special_tokens=False)
        return text if final else text.rstrip("\N{REPLACEMENT CHARACTER}")


def from_json(files: Files) -> Any:
    """The Rust tokenizer of `tokenizer.json`."""
    from tokenizers import Tokenizer

    with readable("read tokenizer.json"):
        return Tokenizer.from_str(read_text(files, "tokenizer.json"))


def word_piece(files: Files) -> Any | None:
    """The Rust tokenizer of `vocab.txt` (Devlin et al. 2019), one token a line; None if it is of another kind."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    if class_name(files) not in ANY + WORD_PIECE:
        return None
    config, named = read_json(files, "tokenizer_config.json"), named_tokens(files)
    unknown, first, last = (
        named.get(role, {}).get("content", usual)
        for role, usual in (("unk_token", "[UNK]"), ("cls_token", "[CLS]"), ("sep_token", "[SEP]"))
    )
    lines = read_text(files, "vocab.txt").removesuffix("\n").split("\n")
    vocabulary = {token: index for index, token in enumerate(lines)}
    for token in (unknown, first, last):
        if token not in vocabulary:
            raise ValueError(f"cannot read vocab.txt: it is no vocabulary of WordPiece, which has {token!r}")
    with readable("read vocab.txt"):
        rust = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
        rust.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=config.get("tokenize_chinese_chars", True),
            strip_accents=config.get("strip_accents"),
            lowercase=config.get("do_lower_case", True),
        )
        rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        rust.decoder = decoders.WordPiece(prefix="##")
        rust.post_processor = processors.BertProcessing((last, vocabulary[last]), (first, vocabulary[first]))
        rust.add_special_tokens([t for t in (unknown, first, last, "[PAD]", "[MASK]") if t in vocabulary])
    return rust


def byte_level(files: Files) -> Any | None:
    """The Rust tokenizer of `vocab.json` and `merges.txt` (Radford et al. 2019), None if bytes are split in another way.

    A vocabulary with a mask is that of RoBERTa, which sets special ids around a text. GPT-2 sets none, other models of
    its kind those that `add_bos_token` and `add_eos_token` of the tokenizer's config ask for.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    if class_name(files) not in ANY + BYTE_LEVEL:
        return None
    vocabulary, named = read_vocabulary(files, "vocab.json"), named_tokens(files)
    lines = [line for line in read_text(files, "merges.txt").split("\n") if line and not line.startswith("#version")]
    merges = [(left, right) for left, _, right in (line.partition(" ") for line in lines)]
    if any(not right or " " in right for _, right in merges):
        raise ValueError("cannot read merges.txt: each line must be two pieces with a space between")
    config = read_json(files, "tokenizer_config.json")
    first, last, mask = (
        named.get(role, {}).get("content", usual)
        for role, usual in (("cls_token", "<s>"), ("sep_token", "</s>"), ("mask_token", "<mask>"))
    )
    space = bool(config.get("add_prefix_space", False))
    with readable("read vocab.json and merges.txt"):
        rust = Tokenizer(models.BPE(vocabulary, merges, continuing_subword_prefix="", end_of_word_suffix=""))
        rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
        rust.decoder = decoders.ByteLevel()
        if all(token in vocabulary for token in (first, last, mask)):
            around = (last, vocabulary[last]), (first, vocabulary[first])
            rust.post_processor = processors.RobertaProcessing(*around, trim_offsets=True, add_prefix_space=space)
        else:
            asked = [role for role in ("bos_token", "eos_token") if config.get(f"add_{role}") and role in named]
            start, end = ([named[role]["content"]] if role in asked else [] for role in ("bos_token", "eos_token"))
            alone = [*start, "$A", *end]
            tokens = [(token, vocabulary[token]) for token in dict.fromkeys([*start, *end])]
            rust.post_processor = processors.TemplateProcessing(alone, [*alone, *start, "$B", *end], tokens)
        usual = (first, last, mask, "<pad>", "<unk>", "<|endoftext|>")
        rust.add_special_tokens([token for token in dict.fromkeys(usual) if token in vocabulary])
    return rust


def _probes(rust: Any, special: frozenset[int]) -> Iterator[str]:
    """Texts of which one at least has an id."""
    yield from ("a", "A", "1")
    for token, index in sorted(rust.get_vocab().items(), key=lambda item: item[1])[:200]:
        if index not in special:
            yield token
            yield rust.decode([index])


def _template(rust: Any, special: frozenset[int]) -> Template:
    """The special ids that the library sets around one text and two."""
    with readable("read the post-processor of tokenizer.json"):
        probe = next((text for text in _probes(rust, special) if rust.encode(text, add_special_tokens=False).ids), None)
        if probe is None:
            raise ValueError("the tokenizer knows no token but special ones; download its files again")
        alone, pair = rust.encode(probe), rust.encode(probe, probe)
    (first, last), (ids, types) = _range(alone, 0), (pair.ids, pair.type_ids)
    (from_0, to_0), (from_1, to_1) = _range(pair, 0), _range(pair, 1)
    return Template(
        tuple(alone.ids[:first]),
        tuple(alone.ids[last:]),
        (tuple(ids[:from_0]), tuple(ids[to_0:from_1]), tuple(ids[to_1:])),
        (tuple(types[:from_0]), types[from_0], tuple(types[to_0:from_1]), types[from_1], tuple(types[to_1:])),
    )


def _range(encoding: Any, sequence: int) -> tuple[int, int]:
    """Where in an encoding a text lies: [from, to)."""
    places = [place for place, found in enumerate(encoding.sequence_ids) if found == sequence]
    if not places:
        raise ValueError("the post-processor of tokenizer.json leaves a text out; download the tokenizer's files again")
    return places[0], places[-1] + 1
