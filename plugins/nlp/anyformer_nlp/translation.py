"""`nlp/translation`: a text to its translation, by an encoder and a decoder.

* One tokenizer reads both languages, so that names and numbers have the same ids on both sides (Sennrich et al. 2016).
* A text of more than `context` tokens is refused: a translation cannot be put together from windows cut anywhere. Give
  paragraphs or sentences, as in training.
* A published model may be one that summarises or answers: it reads a text and writes one, and T5 is told what to do by the
  words that the text begins with.
* A translation may be told how it begins. The ids of the prefix are decoded with what follows: it may be half a word.
* The baselines say how far copying goes, and how far a dictionary learned from the same pairs goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from anyformer.hints import quoted
from anyformer.infer.options import Generation, log_probabilities
from anyformer.task import Array, Data, Frozen, Metric, Prediction, Record, Rng, Sample, Task
from anyformer_nlp import lexicon

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Head
    from anyformer.nn.config import Trunk

STACK = {"width": 256, "depth": 3, "attention": {"heads": 4}, "feed_forward": {"width": 512}, "dropout": 0.1}
"""Of either half of the default trunk."""


class Source(Data):
    """What is asked."""

    text: str
    """A sentence or a paragraph in the language the model reads."""


class Reference(Data):
    """The true answer."""

    translation: str
    """The same in the language the model writes."""


class Translated(Data):
    """What is answered."""

    text: str
    """The translation, a given beginning included; empty for an empty text."""
    log_probabilities: list[float] | None = None
    """Of each token that was written, and so of none of a given beginning; where they are asked for."""


class Translation(Task[Source, Reference, Translated]):
    """A text to its translation."""

    class Config(Frozen):
        """Fixed by training."""

        context: int = Field(default=512, ge=4)
        """The longest text in tokens, of either language, with its special ones; a longer one is refused."""
        smoothing: float = Field(default=0.1, ge=0, lt=1)
        """Of the true tokens, in training (Szegedy et al. 2016)."""
        tied: bool = True
        """The vocabulary of the output is the table of the tokens (Press and Wolf 2017)."""
        bias: bool = False
        """Of the output."""
        scale: float = Field(default=1.0, gt=0)
        """Of what the output reads (T5)."""
        forced_first: int | None = Field(default=None, ge=0)
        """The id that every translation begins with (BART; mBART's language)."""
        forced_last: int | None = Field(default=None, ge=0)
        """The id that must come where a translation reaches its limit: BART's end."""
        suppressed: tuple[int, ...] = ()
        """Ids that are never written (Marian's filler)."""

    class Options(Generation):
        """Of one call."""

        max_new_tokens: int = Field(default=2000, ge=1, le=100_000)
        """Tokens at most, and never more than twice those of the text and fifty, nor than the model's context. Those of a
        prefix do not count, but need room in the context."""
        prefix: str | None = None
        """What the answer begins with, as text (`target_prefix` in CTranslate2); best without a space at its end."""

    Input = Source
    Target = Reference
    Output = Translated
    tokenizers = {"text": "anyformer_nlp.tokenizers:Bpe"}
    trunk = "both"
    default_trunk = {"encoder": STACK, "decoder": {**STACK, "causal": True, "cross": True}}
    default_training = {
        "steps": 2400,
        "records": 64,
        "optimizer": {"name": "adamw", "lr": 1.5e-3, "weight_decay": 0.01},
        "schedule": {"name": "cosine", "warmup": 200},
    }
    solver = "anyformer.infer.solvers:generate"
    demo = "anyformer_nlp.demos:dates"

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """German to English, eight texts of different lengths."""
        pairs = {
            "Hallo!": "Hello!",
            "Ein Hund läuft.": "A dog runs.",
            "Zwei Hunde laufen im Schnee.": "Two dogs run in the snow.",
            "Die Frau liest ein Buch.": "The woman is reading a book.",
            "Der Mann liest die Zeitung.": "The man is reading the newspaper.",
            "Ein Kind mit einem roten Hut sitzt auf der Treppe.": "A child with a red hat sits on the stairs.",
            "Schnee": "Snow",
            "Das Buch ist rot, die Zeitung nicht.": "The book is red, the newspaper is not.",
        }
        return [{"text": text, "translation": translation} for text, translation in pairs.items()]

    def corpus(self, name: str, records: Sequence[Record[Source, Reference]]) -> Iterable[str]:
        """The texts of both languages."""
        for record in records:
            yield record.input.text
            yield record.target.translation

    def fit(self, records: Sequence[Record[Source, Reference]]) -> dict[str, Any]:
        """State: `lexicon`, for each frequent word the word it most likely becomes."""
        return {"lexicon": lexicon.learn((record.input.text, record.target.translation) for record in records)}

    def encode(self, input: Source, options: Any) -> list[Sample]:
        """One sample: `source` is the text with its special ids, `target` the start and what is given of the answer; notes
        bound what is written, and `begun` has the ids of what is given, int64 [n].

        Raises `ValueError` for a text or a prefix that is too long, and for a prefix that the model has no tokens for.
        """
        source, begun = self._source(input.text), self._begun(options.prefix or "")
        room = self.config.context - len(begun)
        limit = min(2 * len(source) + 50, room) if input.text.strip() else 1
        parts = {"source": source, "target": _join(self.tokens["text"].start_id, begun)}
        given = {"begun": begun} if len(begun) else {}
        return [Sample(parts, notes={**self.notes(begun=len(begun) > 0), **given, "max_new_tokens": limit})]

    def notes(self, begun: bool = False) -> dict[str, Any]:
        """What rules the writing of any text: where it ends, which ids are forced, and which never come.

        Of an answer that has `begun`, no first id is forced: it is there.
        """
        chosen, notes = self.config, {"end": self.tokens["text"].end_id}
        first = None if begun else chosen.forced_first
        forced = {step: id for step, id in ((0, first), (-1, chosen.forced_last)) if id is not None}
        return notes | ({"forced": forced} if forced else {}) | (
            {"suppressed": chosen.suppressed} if chosen.suppressed else {}
        )  # fmt: skip

    def learn(self, record: Record[Source, Reference], rng: Rng) -> list[Sample]:
        """One sample: `target` is the start and the translation, `labels` the translation and its end."""
        tokenizer, first = self.tokens["text"], self.config.forced_first
        written = _join(*([] if first is None else [first]), self._ids(record.target.translation, "translation"))
        return [
            Sample(
                {"source": self._source(record.input.text), "target": _join(tokenizer.start_id, written)},
                {"labels": _join(written, tokenizer.end_id)},
            )
        ]

    def head(self, trunk: Trunk) -> Head:
        """The next token. Raises `ValueError` for a decoder that sees what it is to write."""
        from anyformer.heads import LanguageModel

        if not trunk.output.causal or not trunk.output.cross:
            raise ValueError(
                "a translation is written left to right from a text: trunk.decoder needs causal=true, cross=true"
            )
        chosen = self.config
        return LanguageModel(
            trunk.output.width, self.tokens["text"].vocabulary_size, stream="target", tied=chosen.tied,
            smoothing=chosen.smoothing, bias=chosen.bias, scale=chosen.scale,
        )  # fmt: skip

    def decode(self, input: Source, samples: list[Sample], predictions: list[Prediction], options: Any) -> Translated:
        """The ids as text, with those of the prefix; of a stream, the text so far."""
        if not input.text.strip():
            return Translated(text="")
        (sample,), (prediction,) = samples, predictions
        ids = _join(*([sample.notes["begun"]] if "begun" in sample.notes else []), prediction.values["ids"])
        text = self.tokens["text"].decode(ids, final=prediction.final)
        return Translated(text=text, log_probabilities=log_probabilities(prediction))

    def metrics(self) -> list[Metric]:
        """BLEU and chrF as sacrebleu computes them, and the share of answers equal to the truth."""
        from anyformer.metrics import ExactMatch
        from anyformer_nlp.metrics import Bleu, Chrf

        return [Bleu(), Chrf(), ExactMatch("text", "translation")]

    def baselines(self) -> dict[str, Callable[[Source], Translated]]:
        """`copy`: the text as it is; `dictionary`: word by word, in the order of the text.

        A model read from a published checkpoint was given no pairs: its dictionary is empty, and both copy.
        """
        return {
            "copy": lambda input: Translated(text=input.text),
            "dictionary": lambda input: Translated(text=lexicon.translate(input.text, self.state.get("lexicon", {}))),
        }

    def draw(self, input: Source, output: Translated, target: Reference | None = None) -> Figure:
        """The text, its translation, and the true one."""
        from anyformer_nlp.drawings import draw_texts

        truth = [] if target is None else [("truth", target.translation)]
        return draw_texts([("text", input.text), ("output", output.text), *truth])

    def _source(self, text: str) -> Array:
        """Ids of what is read with the special ids of one text, int64 [L]."""
        source: Array = self.tokens["text"].single(self._ids(text, "text"))
        return source

    def _begun(self, prefix: str) -> Array:
        """Ids after the start that are given and not written, int64 [n]: none without a prefix."""
        tokenizer, first = self.tokens["text"], self.config.forced_first
        ids: Array = tokenizer.encode_target(prefix)["ids"]
        if not len(ids):
            return ids
        room = self.config.context - (1 if first is None else 2)
        if len(ids) > room:
            raise ValueError(f"'prefix' has {len(ids):,} tokens; this model has room for {room:,}: give a shorter one")
        unknown, text = getattr(tokenizer, "unknown_id", None), tokenizer.decode(ids)
        if unknown in ids.tolist() or "\N{REPLACEMENT CHARACTER}" in text.replace(prefix, ""):
            raise ValueError(
                f"'prefix' is {quoted(prefix)}, and this model has tokens for {quoted(text)} only: leave out what it "
                "cannot write"
            )
        return ids if first is None else _join(first, ids)

    def _ids(self, text: str, field: str) -> Array:
        """Ids of one side, int64 [L]; raises `ValueError` if, with special ones, they are more than the context."""
        tokenizer = self.tokens["text"]
        ids: Array = (tokenizer.encode if field == "text" else tokenizer.encode_target)(text)["ids"]
        room = self.config.context - max(2, tokenizer.num_special())
        if len(ids) > room:
            raise ValueError(
                f"{field!r} has {len(ids):,} tokens; this model reads {room:,} at most: "
                "give it sentence by sentence, or train with a greater config.context"
            )
        return ids


def _join(*pieces: Array | int) -> Array:
    """Ids and single ids as one sequence, int64 [L]."""
    return np.concatenate([np.atleast_1d(piece) for piece in pieces]).astype(np.int64)
