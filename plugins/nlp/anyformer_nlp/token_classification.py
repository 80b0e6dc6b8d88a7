"""`nlp/token-classification`: a tag for each word of a text, and the entities they name.

* A text is split into words by `anyformer_nlp.tags.words_of`; a list of words is taken as it is, and read as its words
  with a space between, so that a model meets both alike.
* The tag of a word is learned at its first piece (Devlin et al. 2019). In use, `Options.aggregation` says how the
  pieces of a word decide: with `first`, `mean` and `max` as in transformers' pipeline.
* A text longer than `context` is read in overlapping windows, and each piece is answered by the window that sees most
  around it. Nothing is cut off.
* Tags are read as entities where all of them are O or have the prefix B, I, E or S; others (parts of speech) are only tags.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from anyformer.hints import listed
from anyformer.task import Array, Frozen, Metric, Prediction, Record, Rng, Sample, Task
from anyformer_nlp.pieces import joined, pieces_of, windows
from anyformer_nlp.tagged import Agreeing, Found, Tagged, Tags, Words, read, words_in
from anyformer_nlp.tags import OUTSIDE, entities_of, has_entities

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Head
    from anyformer.nn.config import Trunk

IGNORED = -100
"""The label of a piece that the loss does not count."""


class TokenClassification(Task[Words, Tags, Tagged]):
    """A tag for each word of a text, and the entities they name."""

    class Config(Frozen):
        """Fixed by training."""

        context: int = Field(default=512, ge=8)
        """The longest sequence of tokens, special ones included; a longer text is read in windows."""
        dropout: float = Field(default=0.1, ge=0, lt=1)
        """On the vector of each piece."""

    class Options(Frozen):
        """Of one call."""

        aggregation: Literal["first", "mean", "max"] = "first"
        """Which probabilities a word has: its first piece's, their mean, or those of the piece that is surest."""

    Input = Words
    Target = Tags
    Output = Tagged
    tokenizers = {"text": "anyformer_nlp.tokenizers:Bpe"}
    trunk = "encoder"
    default_trunk = {"encoder": {"width": 128, "depth": 2, "attention": {"heads": 4}, "dropout": 0.2}}
    default_training = {
        "steps": 1500,
        "records": 32,
        "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.1},
        "schedule": {"name": "cosine", "warmup": 50},
    }

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """People and places, eight texts of different lengths, as text and as words."""
        person, place, out = ["B-person"], ["B-place"], [OUTSIDE]
        return [
            {"text": "Ada slept.", "tags": [*person, *out * 2]},
            {"text": ["Ada", "Lovelace", "lived", "in", "London"], "tags": [*person, "I-person", *out * 2, *place]},
            {"text": "New York is loud.", "tags": [*place, "I-place", *out * 3]},
            {"text": ["Rain"], "tags": out},
            {"text": "Kurt Gödel left Vienna.", "tags": [*person, "I-person", *out, *place, *out]},
            {"text": ["Vienna", ",", "London", ",", "New", "York"], "tags": [*place, *out, *place, *out, *place, "I-place"]},
            {"text": "Emmy Noether taught Gödel nothing", "tags": [*person, "I-person", *out, *person, *out]},
            {"text": "It rained in 京都", "tags": [*out * 3, *place, "I-place"]},
        ]  # fmt: skip

    def records(self, raw: Sequence[Any]) -> Sequence[Record[Words, Tags]]:
        """A row is a record; it must have as many tags as words."""
        return Agreeing(super().records(raw), range(len(raw)))

    def corpus(self, name: str, records: Sequence[Record[Words, Tags]]) -> Iterable[str]:
        """The texts."""
        return (read(record.input)[0] for record in records)

    def fit(self, records: Sequence[Record[Words, Tags]]) -> dict[str, Any]:
        """State: `labels`, the tags in order; `counts` int64 [C]; `dictionary`, the most frequent tag of each word for
        which it is not the most frequent of all.
        """
        seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for record in records:
            for word, tag in zip(words_in(record.input), record.target.tags, strict=True):
                seen[word][tag] += 1
        totals: Counter[str] = sum(seen.values(), Counter())
        if len(totals) < 2:
            raise ValueError(
                f"the training data has {len(totals)} tag{'' if len(totals) == 1 else 's'}"
                f"{': ' if totals else ''}{', '.join(map(repr, totals))}; a tagger needs two or more"
            )
        labels = sorted(totals)
        majority = max(labels, key=totals.__getitem__)
        often = {word: max(sorted(counts), key=counts.__getitem__) for word, counts in seen.items()}
        return {
            "labels": labels,
            "counts": np.array([totals[label] for label in labels], dtype=np.int64),
            "dictionary": {word: tag for word, tag in sorted(often.items()) if tag != majority},
        }

    def encode(self, input: Words, options: Any) -> list[Sample]:
        """One sample for each window: part `source`, int64 [L] with L at most `context`. No sample for an empty text."""
        tokenizer = self.tokens["text"]
        ids, _ = tokenizer.encode_spans(read(input)[0])
        return [Sample({"source": tokenizer.single(ids[window])}) for window, _ in self._windows(len(ids))]

    def learn(self, record: Record[Words, Tags], rng: Rng) -> list[Sample]:
        """As `encode`, with target `labels`: a word's tag at its first piece, in the one window that answers for it."""
        text, words = read(record.input)
        _, spans = self.tokens["text"].encode_spans(text)
        labels = np.full(len(spans), IGNORED, dtype=np.int64)
        # Backwards, so that a piece that is the first of two words has the tag of the first word.
        for pieces, tag in reversed(list(zip(pieces_of(spans, words), record.target.tags, strict=True))):
            labels[pieces][:1] = self._index(tag)
        samples = self.encode(record.input, self.Options())
        for sample, (window, own) in zip(samples, self._windows(len(spans)), strict=True):
            seen = np.full(len(sample.parts["source"]), IGNORED, dtype=np.int64)
            begin = self._lead + own.start - window.start
            seen[begin : begin + own.stop - own.start] = labels[own]
            sample.targets["labels"] = seen
        return samples

    def head(self, trunk: Trunk) -> Head:
        """A linear layer over each piece."""
        from anyformer.heads import TokenClassifier

        return TokenClassifier(trunk.output.width, len(self.state["labels"]), dropout=self.config.dropout)

    def decode(self, input: Words, samples: list[Sample], predictions: list[Prediction], options: Options) -> Tagged:
        """Each piece as the window that answers for it sees it, and each word as its pieces have it."""
        text, words = read(input)
        _, spans = self.tokens["text"].encode_spans(text)
        shares = np.zeros((len(spans), len(self.state["labels"])))
        for prediction, (window, own) in zip(predictions, self._windows(len(spans)), strict=True):
            begin = self._lead + own.start - window.start
            shares[own] = _softmax(prediction.values["logits"][begin : begin + own.stop - own.start])
        found = [self._best(shares[pieces], options.aggregation) for pieces in pieces_of(spans, words)]
        return self._answer(input, found)

    def metrics(self) -> list[Metric]:
        """F1, precision and recall of entities where the tags name some, and the share of words whose tag is right."""
        from anyformer.metrics import TokenAccuracy
        from anyformer_nlp.tags import EntityF1

        accuracy = TokenAccuracy("tags")
        return [EntityF1(), accuracy] if has_entities(self.state["labels"]) else [accuracy]

    def baselines(self) -> dict[str, Callable[[Words], Tagged]]:
        """`majority`: the most frequent tag; `dictionary`: of each word the tag it most often had in training.

        A model that was read from a checkpoint has seen no training here: both then answer O, or its first tag.
        """
        labels, counts = self.state["labels"], self.state.get("counts")
        majority = self._outside if counts is None else labels[int(np.argmax(counts))]
        often = self.state.get("dictionary", {})
        return {
            "majority": lambda input: self._answer(input, [(majority, 1.0)] * len(words_in(input))),
            "dictionary": lambda input: self._answer(input, [(often.get(w, majority), 1.0) for w in words_in(input)]),
        }

    def draw(self, input: Words, output: Tagged, target: Tags | None = None) -> Figure:
        """The words in lines, the predicted tags below them and the true ones below those."""
        from anyformer_nlp.tag_drawing import draw_tags

        return draw_tags(output.words, output.tags, None if target is None else target.tags)

    @property
    def _outside(self) -> str:
        labels: list[str] = self.state["labels"]
        return OUTSIDE if OUTSIDE in labels else labels[0]

    @property
    def _lead(self) -> int:
        """How many special ids stand before a text."""
        return int(np.argmin(self.tokens["text"].single(np.array([-1], dtype=np.int64))))

    def _windows(self, length: int) -> list[tuple[slice, slice]]:
        return windows(length, self.config.context - self.tokens["text"].num_special())

    def _index(self, tag: str) -> int:
        """Which of the tags it is; raises `ValueError` for one that training did not see."""
        labels: list[str] = self.state["labels"]
        if tag not in labels:
            raise ValueError(f"the tag {tag!r} was not in the training data; tags: {listed(labels)}")
        return labels.index(tag)

    def _best(self, shares: Array, aggregation: Literal["first", "mean", "max"]) -> tuple[str, float]:
        """The most probable tag of a word, and its probability, from those of its pieces [L, C].

        A word of which the tokenizer keeps nothing, such as a control character, was not seen: it is outside.
        """
        if not len(shares):
            return self._outside, 0.0
        row = joined(shares, aggregation)
        return self.state["labels"][int(row.argmax())], float(row.max())

    def _answer(self, input: Words, found: Sequence[tuple[str, float]]) -> Tagged:
        """A tag and its probability for each word, and the entities that follow."""
        text, words = read(input)
        tags, scores = [tag for tag, _ in found], [score for _, score in found]
        entities = []
        for label, first, last in entities_of(tags) if has_entities(self.state["labels"]) else ():
            start, end = words[first][0], words[last - 1][1]
            score = float(np.mean(scores[first:last]))
            entities.append(Found(text=text[start:end], label=label, start=start, end=end, score=score))
        return Tagged(words=words_in(input), tags=tags, scores=scores, entities=entities)


def _softmax(logits: Array) -> Array:
    """Probabilities of logits [L, C], in float64."""
    exponents = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))
