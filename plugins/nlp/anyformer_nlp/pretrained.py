"""`Pretrained`: the tokenizer of a published checkpoint, from the files in its Hugging Face folder.

* The first of these that a folder has is read: `tokenizer.json`; `source.spm`, `target.spm` and `vocab.json` (Marian);
  `vocab.txt` (WordPiece); `vocab.json` and `merges.txt` (bytes as GPT-2 and RoBERTa split them); `spiece.model` (T5) or
  `tokenizer.model` (Llama).
* A model can be read without its tokenizer: then the number of ids is known, and a text is refused.
* An artifact keeps the files byte for byte, and `write` gives them back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from anyformer.task import Array, Rng, Tokenizer
from anyformer_nlp import rust
from anyformer_nlp.engines import Absent, Engine
from anyformer_nlp.spans import spans_before_lower
from anyformer_nlp.tokenizer_files import Files, class_name, named_tokens, read_files
from anyformer_nlp.tokenizers import TextTokenizer

T5 = ("t5", "mt5", "umt5", "longt5", "switch_transformers")
LLAMA = ("llama", "mistral", "mixtral", "gemma")
ROLES = {
    "start": (("bos_token", "cls_token"), ("[CLS]", "<s>", "<|endoftext|>")),
    "end": (("eos_token", "sep_token"), ("[SEP]", "</s>", "<|endoftext|>")),
    "mask": (("mask_token",), ("[MASK]", "<mask>")),
    "pad": (("pad_token",), ("[PAD]", "<pad>")),
    "unknown": (("unk_token",), ("[UNK]", "<unk>")),
}
"""What the files call a role, and the special tokens that have it where the files do not say."""
IDS = {"start": ("decoder_start_token_id", "bos_token_id"), "end": ("eos_token_id",), "pad": ("pad_token_id",)}
"""What the model's config calls the id of a role."""


class Pretrained(TextTokenizer):
    """The tokenizer of a checkpoint: ids, characters, special ids and the way back as its files define them."""

    class Config(TextTokenizer.Config):
        """What the tokenizer's files do not say. A role is given as the text of its token, or as its id."""

        vocabulary_size: int | None = Field(default=None, ge=1)
        """Rows of the model's table, often more than the tokenizer has ids; None: as many as the tokenizer has."""
        model_type: str | None = None
        """The `model_type` of the checkpoint's config: it tells whether SentencePiece is used as T5 or Llama use it."""
        start: int | str | None = None
        """What a generated text begins after; None, as for the others: what the files say."""
        end: int | str | None = None
        """What ends a text."""
        mask: int | str | None = None
        """What hides a token."""
        pad: int | str | None = None
        """What fills up a batch elsewhere; here it is only never data."""
        unknown: int | str | None = None
        """What stands for text that the vocabulary cannot write."""
        special_in_text: bool = False
        """Read `</s>` or `[MASK]` written in a text as the special id, as the `transformers` library does.

        Off, because a text comes from anywhere: a user's message that may write special ids can end a turn or begin
        another. Turn it on for texts you wrote yourself, such as the one to fill a mask in.
        """

    config: Config
    pad_id: int | None = None
    unknown_id: int | None = None
    # Its engines know ids and no bytes, so it does not say where words and sentences end.
    continues = Tokenizer.continues
    closes = Tokenizer.closes

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._use(
            {}, Absent("this tokenizer has read no files; make it by Pretrained.read(folder, config), or load it")
        )

    @classmethod
    def read(cls, folder: Path, config: Mapping[str, Any]) -> Pretrained:
        """The tokenizer of a checkpoint's folder, `config` being what its `config.json` holds.

        Raises `ValueError` for a damaged file, and for a folder that tells not even the number of ids.
        """
        size, kind = config.get("vocab_size"), config.get("model_type")
        if size is not None and (type(size) is not int or size < 1):
            raise ValueError(
                f"{folder / 'config.json'}: vocab_size is {str(size)[:40]!r}; a whole number from 1 is expected"
            )
        made = cls(cls.Config(vocabulary_size=size, model_type=kind if isinstance(kind, str) else None))
        made.load(folder)
        if not made.vocabulary_size:
            raise ValueError(f"{folder} has neither the files of a tokenizer nor a vocab_size in its config.json")
        found = {role: made._ids_of[role] for role in IDS}
        for role, keys in IDS.items():
            told = [_first(config.get(key)) for key in keys]
            if role == "start" and told[0] is not None:
                found[role] = told[0]  # a decoder begins with this, whatever begins a source text
            elif found[role] is None:
                found[role] = next((index for index in told if index is not None), None)
        changed = {role: index for role, index in found.items() if index != made._ids_of[role]}
        made.config = made.config.model_copy(update=changed)
        made._use(made.files, made.engine)
        return made

    def fit(self, corpus: Iterable[Any], rng: Rng) -> None:
        """Refuse a corpus, unless files were read: there is nothing to learn."""
        if isinstance(self.engine, Absent):
            raise ValueError(f"{self.engine.reason}; it learns nothing from a corpus, as nlp/bpe and nlp/words do")

    def load(self, folder: Path) -> None:
        """Read the files of a checkpoint, or of an artifact."""
        files = read_files(folder)
        self._use(files, _engine(files, self.config))

    def save(self, folder: Path) -> None:
        """Write the files that were read, byte for byte."""
        for name, data in self.files.items():
            (folder / name).write_bytes(data)

    def write(self, folder: Path) -> bool:
        """Write the same files for another library; False where there are none."""
        self.save(folder)
        return bool(self.files)

    def _use(self, files: Files, engine: Engine) -> None:
        """Take the vocabulary and the special ids from files and what runs them."""
        self.files, self.engine = files, engine
        self.vocabulary_size = self.config.vocabulary_size or engine.size
        named = named_tokens(files)
        self._ids_of = {role: self._id_of(role, named) for role in ROLES}
        self.start_id, self.end_id, self.mask_id = (self._ids_of[role] for role in ("start", "end", "mask"))
        self.pad_id, self.unknown_id = self._ids_of["pad"], self._ids_of["unknown"]
        special = engine.special | {index for index in self._ids_of.values() if index is not None}
        self.special_ids = frozenset(index for index in special if index < self.vocabulary_size)
        self.sentinel_ids = _sentinels(engine)

    def _id_of(self, role: str, named: Mapping[str, Mapping[str, Any]]) -> int | None:
        chosen = getattr(self.config, role)
        if isinstance(chosen, int):
            return chosen
        if chosen is not None and not isinstance(self.engine, Absent):
            found = self.engine.id_of(chosen)
            if found is None:
                raise ValueError(
                    f"{role}={chosen[:60]!r} is no token of this tokenizer; give one that it has, or its id"
                )
            return found
        keys, usual = ROLES[role]
        told = [self.engine.id_of(named[key]["content"]) for key in keys if key in named]
        known = [index for token in usual if (index := self.engine.id_of(token)) in self.engine.special]
        return next((index for index in [*told, *known] if index is not None), None)

    def encode(self, raw: Any) -> dict[str, Array]:
        """A text to `{"ids": int64 [L]}`, without the ids that `single` adds; raises `ValueError` for a bad text."""
        return {"ids": self.encode_spans(raw)[0]}

    def encode_target(self, raw: Any) -> dict[str, Array]:
        """As `encode`, of a text in the language that the model writes: Marian has a model of pieces for each language."""
        encode = getattr(self.engine, "encode_target", self.engine.encode)
        return {"ids": self._in_range(encode(self._checked(raw))[0])}

    def encode_spans(self, raw: Any) -> tuple[Array, Array]:
        """Ids, int64 [L], and the characters [from, to) of `raw` that each stands for, int64 [L, 2].

        Whether a space before a word belongs to it is as the checkpoint's own library counts.
        """
        text = self._checked(raw)
        found, spans = self.engine.encode(text)
        return self._in_range(found), spans_before_lower(np.array(spans, dtype=np.int64).reshape(-1, 2), raw, text)

    def _in_range(self, found: list[int]) -> Array:
        ids = np.array(found, dtype=np.int64)
        if ids.size and ids.max() >= self.vocabulary_size:
            raise ValueError(
                f"the text has the id {ids.max()}, and the model has {self.vocabulary_size} rows; "
                "its tokenizer's files are of another model"
            )
        return ids

    def decode(self, ids: Array, final: bool = True) -> str:
        """The text of ids [L] without special ones; with `final=False` what further ids could change is held back."""
        found = np.asarray(ids, dtype=np.int64)
        if found.size and (found.min() < 0 or found.max() >= self.vocabulary_size):
            raise ValueError(f"ids must be from 0 to {self.vocabulary_size - 1}; got {found.min()} to {found.max()}")
        return self.engine.decode([index for index in found.tolist() if index not in self.special_ids], final)

    def single(self, ids: Array) -> Array:
        """Ids of one text [L] with the special ids of the checkpoint around them."""
        return self.engine.template.single(ids)

    def pair(self, first: Array, second: Array) -> tuple[Array, Array]:
        """Ids of two texts with the checkpoint's special ids, and the segment of each: both int64."""
        return self.engine.template.join(first, second)

    def num_special(self, pair: bool = False) -> int:
        """How many ids `single`, or `pair`, adds."""
        nothing = np.array([], dtype=np.int64)
        return len(self.pair(nothing, nothing)[0] if pair else self.single(nothing))


def _sentinels(engine: Engine) -> tuple[int, ...]:
    """The ids that stand for hidden spans in T5, the first first; none in other tokenizers."""
    found: list[int] = []
    while (index := engine.id_of(f"<extra_id_{len(found)}>")) is not None:
        found.append(index)
    return tuple(found)


def _engine(files: Files, config: Pretrained.Config) -> Engine:
    """What runs the tokenizer of these files."""
    from anyformer_nlp.sentence_pieces import Marian, SentencePieces

    found: Any = None
    if "tokenizer.json" in files:
        found = rust.from_json(files)
    elif {"source.spm", "target.spm", "vocab.json"} <= files.keys():
        return _without_special(config, Marian(files))
    elif "vocab.txt" in files:
        found = rust.word_piece(files)
    elif {"vocab.json", "merges.txt"} <= files.keys():
        found = rust.byte_level(files)
    elif family := _family(files, config):
        name = "spiece.model" if "spiece.model" in files else "tokenizer.model"
        return _without_special(config, SentencePieces(files, name, family))
    if found is not None:
        return rust.Rust(found, files, config.special_in_text)
    return Absent(
        f"this model's tokenizer cannot be read from {', '.join(files) or 'its folder, which has no tokenizer files'}; "
        "put its tokenizer.json beside its weights and read the model again"
    )


def _family(files: Files, config: Pretrained.Config) -> Literal["t5", "llama"] | None:
    """How a model of SentencePiece is used; None if there is none or in a way that is not known."""
    kind = config.model_type or class_name(files).removesuffix("Tokenizer").lower()
    if not {"spiece.model", "tokenizer.model"} & files.keys():
        return None
    return "t5" if kind in T5 else "llama" if kind in LLAMA else None


def _without_special(config: Pretrained.Config, engine: Engine) -> Engine:
    if config.special_in_text:
        raise ValueError("special_in_text is possible with a tokenizer.json, vocab.txt or vocab.json; set it to false")
    return engine


def _first(value: Any) -> int | None:
    """An id, or the first of several."""
    found = value[0] if isinstance(value, list) and value else value
    return found if type(found) is int and found >= 0 else None
