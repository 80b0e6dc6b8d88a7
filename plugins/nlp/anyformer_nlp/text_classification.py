"""`nlp/text-classification`: a text to one of the labels seen in training.

* How a text of any length is read is told in `whole_texts.py`.
* Naive Bayes over the tokenizer's ids is the baseline to beat; on a few thousand short texts it is a strong one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field

from anyformer.hints import listed
from anyformer.task import Array, Data, Frozen, Metric, Prediction, Record, Rng, Sample
from anyformer_nlp.whole_texts import Text, TextConfig, WholeText

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Head
    from anyformer.nn.config import Trunk


def _digits(value: Any) -> Any:
    return str(value) if isinstance(value, int) else value


class Label(Data):
    """The true answer."""

    label: Annotated[str, Field(min_length=1), BeforeValidator(_digits)]
    """The class; a whole number is taken as its digits."""


class Answer(Data):
    """What is answered."""

    label: str
    """The most probable class."""
    score: float
    """Its probability."""
    scores: dict[str, float]
    """Probability of each class, the greatest first."""


class TextClassification(WholeText[Label, Answer]):
    """A text to one of the labels seen in training."""

    class Config(TextConfig):
        """Fixed by training."""

        smoothing: float = Field(default=0.1, ge=0, lt=1)
        """Of the labels, in training (Szegedy et al. 2016)."""

    class Options(Frozen):
        """Of one call."""

        top: int | None = Field(default=None, ge=1)
        """How many labels `scores` has; None: all."""

    Target = Label
    Output = Answer
    default_tuning = {**WholeText.default_tuning, "config.smoothing": 0.0}
    demo = "anyformer_nlp.demos:language_of_a_name"

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Weather or food, eight texts of different lengths."""
        weather = ("rain", "a storm from the west", "sunny, then clouds over the hills", "frost at night, -3 °C")
        food = ("bread", "soup with beans", "two eggs, a cup of flour and a little milk", "jalapeño and 小籠包")
        rows = [{"text": text, "label": "weather"} for text in weather]
        return rows + [{"text": text, "label": "food"} for text in food]

    def fit(self, records: Sequence[Record[Text, Label]]) -> dict[str, Any]:
        """The labels in order, how often each occurs, and the log-likelihood of each id under each label.

        State: `labels` list of C names, `counts` int64 [C], `log_likelihood` float32 [C, V], smoothed by one.
        """
        size = self.tokens["text"].vocabulary_size
        seen: dict[str, Array] = {}
        counts: dict[str, int] = {}
        for record in records:
            label = record.target.label
            ids = self.ids_of(record.input)
            np.add.at(seen.setdefault(label, np.ones(size)), ids, 1)
            counts[label] = counts.get(label, 0) + 1
        labels = sorted(counts)
        if len(labels) < 2:
            raise ValueError(
                f"the training data has {len(labels)} label{'' if len(labels) == 1 else 's'}"
                f"{': ' if labels else ''}{', '.join(map(repr, labels))}; a classifier needs two or more"
            )
        table = np.stack([seen[label] for label in labels])
        return {
            "labels": labels,
            "counts": np.array([counts[label] for label in labels], dtype=np.int64),
            "log_likelihood": np.log(table / table.sum(axis=1, keepdims=True)).astype(np.float32),
        }

    def learn(self, record: Record[Text, Label], rng: Rng) -> list[Sample]:
        """One sample: a window drawn at random, some of its tokens left out; target `label`, int64 [1]."""
        sample = self.drawn(record.input, rng)
        sample.targets["label"] = np.array([self._index(record.target)], dtype=np.int64)
        return [sample]

    def head(self, trunk: Trunk) -> Head:
        """A linear layer over the pooled vector."""
        from anyformer.heads import Classifier

        return Classifier(
            trunk.output.width,
            len(self.state["labels"]),
            pool=self.config.pooling,
            hidden=self.config.hidden,
            dropout=self.config.dropout,
            smoothing=self.config.smoothing,
        )

    def decode(self, input: Text, samples: list[Sample], predictions: list[Prediction], options: Any) -> Answer:
        """The mean probability over the windows."""
        logits = np.stack([prediction.values["logits"] for prediction in predictions]).astype(np.float64)
        return self._answer(softmax(logits).mean(axis=0), options.top)

    def metrics(self) -> list[Metric]:
        """Accuracy, and the mean F1 of the labels."""
        from anyformer.metrics import Accuracy, MacroF1

        return [Accuracy(), MacroF1(self.state["labels"])]

    def baselines(self) -> dict[str, Callable[[Text], Answer]]:
        """`majority`: the most frequent label; `naive_bayes`: multinomial, over the tokenizer's ids.

        A checkpoint says nothing of the data it learned from: there, `first` says the first label, whatever it is asked.
        """
        if "counts" not in self.state:
            first = np.eye(1, len(self.state["labels"]))[0]
            return {"first": lambda input: self._answer(first, None)}
        counts = np.asarray(self.state["counts"], dtype=np.float64)
        prior, likelihood = np.log(counts / counts.sum()), np.asarray(self.state["log_likelihood"])

        def majority(input: Text) -> Answer:
            return self._answer(counts / counts.sum(), None)

        def naive_bayes(input: Text) -> Answer:
            ids = self.ids_of(input)
            return self._answer(softmax(prior + likelihood[:, ids].sum(axis=1, dtype=np.float64)), None)

        return {"majority": majority, "naive_bayes": naive_bayes}

    def draw(self, input: Text, output: Answer, target: Label | None = None) -> Figure:
        """Bars of the probabilities; the true label is marked."""
        from anyformer_nlp.drawings import draw_labels

        return draw_labels(input.text, output.scores, () if target is None else (target.label,))

    def _index(self, target: Label) -> int:
        """Which of the labels it is; raises `ValueError` for one that training did not see."""
        labels: list[str] = self.state["labels"]
        if target.label not in labels:
            raise ValueError(f"the label {target.label!r} was not in the training data; labels: {listed(labels)}")
        return labels.index(target.label)

    def _answer(self, probabilities: Array, top: int | None) -> Answer:
        """Labels by probability [C], the first `top` of them; equals in order of the labels."""
        order = np.argsort(-probabilities, kind="stable")[:top]
        scores = {self.state["labels"][index]: float(probabilities[index]) for index in order}
        label = next(iter(scores))
        return Answer(label=label, score=scores[label], scores=scores)


def softmax(logits: Array) -> Array:
    """Probabilities of logits [..., C], over the last axis."""
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)
