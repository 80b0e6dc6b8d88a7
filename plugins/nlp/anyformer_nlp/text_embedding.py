"""`nlp/text-embedding`: a text to a vector that is close to those of texts that mean the same.

* It learns from pairs with a score, whose cosine is to equal it (Reimers and Gurevych 2019, Sentence-BERT), or from pairs
  that belong together, told from the others of the same micro-pack (`Config.learning`). There, `training.tokens` is what
  decides among how many: a step should fit into one micro-pack.
* A pair is one sample with two parts, so nothing separates its halves.
* A text longer than `context` is cut into windows of nearly equal length, and its vector is their mean, weighted by tokens.
  Training draws one window of such a text each time it meets it.
* With mean pooling the vector is the mean over all tokens, the special ones included, as sentence-transformers has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from anyformer.task import Array, Data, Frozen, Metric, Prediction, Record, Rng, Sample, Task
from anyformer_nlp.words import WORD

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Embedding, Head
    from anyformer.nn.config import Trunk


class Text(Data):
    """What is asked."""

    text: str
    """Any length; beyond `Config.context` tokens it is read in windows."""
    other: str | None = None
    """A second text to compare it with, of any length; to learn, every record needs one."""


class Likeness(Data):
    """The true answer."""

    score: float | None = Field(default=None, ge=-1, le=1)
    """How alike the two texts are, as the cosine that their vectors should have; None: not known."""


class Vector(Data):
    """What is answered."""

    vector: list[float]
    """As many numbers as the trunk is wide; of length 1 if the model normalises."""
    similarity: float | None = None
    """The cosine of the vectors of both texts, -1 to 1; None where one text was given."""


class TextEmbedding(Task[Text, Likeness, Vector]):
    """A text to a vector that is close to those of texts that mean the same."""

    class Config(Frozen):
        """Fixed by training."""

        context: int = Field(default=256, ge=4)
        """The longest sequence of tokens, special ones included; a longer text is read in windows."""
        pooling: Literal["mean", "first", "last"] = "mean"
        """Which vector stands for the text: the mean of all, the first token's, or the last one's."""
        normalise: bool = True
        """Bring vectors to length 1, so that a dot product is a cosine."""
        learning: Literal["scores", "pairs"] = "scores"
        """From pairs with a score, or from pairs that belong together and have none."""
        scale: float = Field(default=20.0, gt=0)
        """Factor of the cosines when learning from pairs: the inverse of a temperature."""

    Input = Text
    Target = Likeness
    Output = Vector
    tokenizers = {"text": "anyformer_nlp.tokenizers:Bpe"}
    trunk = "encoder"
    default_trunk = {"encoder": {"width": 128, "depth": 2, "attention": {"heads": 4}, "dropout": 0.1}}
    default_training = {
        "steps": 1500,
        "records": 64,
        "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.1},
        "schedule": {"name": "cosine", "warmup": 50},
    }

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Eight pairs, alike or not."""
        pairs = [
            ("a dog runs", "a dog is running fast", 0.9), ("rain tomorrow", "it will rain", 0.8),
            ("two eggs and a cup of flour", "the train is late again", 0.0), ("bread", "a loaf of bread", 0.7),
            ("frost at night, -3 °C", "a cold night", 0.6), ("she reads a book", "he sold the car", 0.1),
            ("jalapeño and 小籠包", "frost", 0.0), ("a storm from the west", "strong wind, from the west", 0.8),
        ]  # fmt: skip
        return [{"text": text, "other": other, "score": score} for text, other, score in pairs]

    def corpus(self, name: str, records: Sequence[Record[Text, Likeness]]) -> Iterable[str]:
        """Both texts of each record."""
        for record in records:
            yield record.input.text
            if record.input.other is not None:
                yield record.input.other

    def fit(self, records: Sequence[Record[Text, Likeness]]) -> dict[str, Any]:
        """State: `score`, the mean of the known ones, 0 if there are none."""
        known = [record.target.score for record in records if record.target.score is not None]
        return {"score": float(np.mean(known)) if known else 0.0}

    def encode(self, input: Text, options: Any) -> list[Sample]:
        """A sample for each window of `text`, then for each of `other`: `source` int64 [L], `other` empty.

        The note `field` says which text a window is of.
        """
        texts = {"text": input.text} | ({} if input.other is None else {"other": input.other})
        none = np.zeros(0, dtype=np.int64)
        return [
            Sample({"source": ids, "other": none}, notes={"field": field})
            for field, text in texts.items()
            for ids in self._windows(text, field)
        ]

    def learn(self, record: Record[Text, Likeness], rng: Rng) -> list[Sample]:
        """One sample: a window of each text, `source` and `other`; target `score`, float32 [1], NaN if there is none."""
        other, score, by_scores = record.input.other, record.target.score, self.config.learning == "scores"
        if other is None:
            raise ValueError("'other' is missing; a pair of texts is needed to learn from")
        if by_scores and score is None:
            raise ValueError("'score' is missing; give one, or learn from pairs that have none: config.learning=pairs")
        if not by_scores and score is not None:
            raise ValueError(
                f"'score' is {score}, but config.learning=pairs takes every pair for alike; leave out the scores, or set "
                "config.learning=scores"
            )
        drawn = [self._windows(text, field) for field, text in (("text", record.input.text), ("other", other))]
        source, second = (windows[rng.integers(len(windows)) if len(windows) > 1 else 0] for windows in drawn)
        target = np.array([np.nan if score is None else score], dtype=np.float32)
        return [Sample({"source": source, "other": second}, {"score": target})]

    def embedding(self, trunk: Trunk) -> Embedding:
        """The default one, for samples of one text or two."""
        from anyformer.heads.pooled import PairEmbedding
        from anyformer.nn.build import embedding_for

        return PairEmbedding(embedding_for(trunk, self.tokens))

    def head(self, trunk: Trunk) -> Head:
        """The pooled vector. It is normalised by `decode`, after the mean over windows."""
        from anyformer.heads import Pooled

        config = self.config
        return Pooled(config.pooling, contrast=config.learning == "pairs", scale=config.scale)

    def decode(self, input: Text, samples: list[Sample], predictions: list[Prediction], options: Any) -> Vector:
        """The mean of the windows' vectors by their tokens, and the cosine of both texts."""
        text = self._mean(samples, predictions, "text")
        similarity = None if input.other is None else cosine(text, self._mean(samples, predictions, "other"))
        length = float(np.linalg.norm(text))
        return Vector(
            vector=(text / length if self.config.normalise and length else text).tolist(), similarity=similarity
        )

    def metrics(self) -> list[Metric]:
        """How the similarities of scored pairs follow their scores: in order, and in a straight line."""
        from anyformer.metrics import Pearson, Spearman

        return [Spearman("similarity", "score"), Pearson("similarity", "score")]

    def baselines(self) -> dict[str, Callable[[Text], Vector]]:
        """`overlap`: shared words over all words of both texts (Jaccard 1901); `constant`: the mean score of the training
        part, 0 for a model that was read from a checkpoint. Neither has a vector: theirs is empty.
        """
        mean = float(self.state.get("score", 0.0))

        def constant(input: Text) -> Vector:
            return Vector(vector=[], similarity=None if input.other is None else mean)

        def words(input: Text) -> Vector:
            return Vector(vector=[], similarity=None if input.other is None else overlap(input.text, input.other))

        return {"overlap": words, "constant": constant}

    def draw(self, input: Text, output: Vector, target: Likeness | None = None) -> Figure:
        """The similarity of two texts beside the true score, or the vector of one."""
        from anyformer_nlp.vector_drawings import draw_similarity, draw_vector

        if input.other is None or output.similarity is None:
            return draw_vector(input.text, output.vector)
        return draw_similarity(input.text, input.other, output.similarity, None if target is None else target.score)

    def _windows(self, text: str, field: str) -> list[Array]:
        """The ids of a text with the special ones around, cut evenly so that each piece fits `context`: int64 [L] each.

        Raises `ValueError` for a text of no tokens, which has no vector.
        """
        tokenizer = self.tokens["text"]
        ids = tokenizer.encode(text)["ids"]
        room = self.config.context - tokenizer.num_special()
        windows: list[Array] = [tokenizer.single(piece) for piece in np.array_split(ids, max(1, -(-len(ids) // room)))]
        if not len(windows[0]):
            raise ValueError(f"{field!r} is {text[:60]!r}, which has no tokens and so no vector; give some text")
        return windows

    @staticmethod
    def _mean(samples: list[Sample], predictions: list[Prediction], field: str) -> Array:
        """The vector [D] of one text, float64."""
        pairs = [pair for pair in zip(samples, predictions, strict=True) if pair[0].notes["field"] == field]
        vectors = np.stack([prediction.values["vector"] for _, prediction in pairs]).astype(np.float64)
        return np.average(vectors, axis=0, weights=[len(sample.parts["source"]) for sample, _ in pairs])


def cosine(first: Array, second: Array) -> float:
    """The cosine of two vectors [D], 0 if one is zero."""
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.clip(first @ second / lengths, -1, 1)) if lengths else 0.0


def overlap(first: str, second: str) -> float:
    """Shared words over all words, lowered, of two texts; 1 if neither has any."""
    one, other = (set(WORD.findall(text.lower())) for text in (first, second))
    return len(one & other) / len(one | other) if one | other else 1.0
