"""`nlp/text-classification`: a text to one of the labels seen in training.

* A text longer than `context` is cut into windows of nearly equal length; the answer is the mean of their
  probabilities. Training draws one window of such a text each time it meets it, so that every record counts the same.
* Small data is memorised in minutes: `token_dropout` leaves out tokens at random in training (Iyyer et al. 2015).
* Naive Bayes over the tokenizer's ids is the baseline to beat; on a few thousand short texts it is a strong one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from anyformer.hints import listed
from anyformer.task import Array, Data, Frozen, Metric, Prediction, Record, Rng, Sample, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Head
    from anyformer.nn.config import Trunk


class Text(Data):
    """What is asked."""

    text: str
    """Any length; beyond `Config.context` tokens it is read in windows."""


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


class TextClassification(Task[Text, Label, Answer]):
    """A text to one of the labels seen in training."""

    class Config(Frozen):
        """Fixed by training."""

        context: int = Field(default=256, ge=4)
        """The longest sequence of tokens, start and end included; a longer text is read in windows."""
        pooling: Literal["mean", "first", "last"] = "mean"
        """Which vector stands for the text: the mean of all, the start token's, or the end token's."""
        hidden: Literal["tanh", "relu", "gelu"] | None = None
        """Activation of a layer between the pooled vector and the labels: `tanh` in BERT, `relu` in DistilBERT."""
        dropout: float = Field(default=0.3, ge=0, lt=1)
        """On the pooled vector."""
        smoothing: float = Field(default=0.1, ge=0, lt=1)
        """Of the labels, in training (Szegedy et al. 2016)."""
        token_dropout: float = Field(default=0.3, ge=0, lt=1)
        """Share of tokens left out in training, at random."""

    class Options(Frozen):
        """Of one call."""

        top: int | None = Field(default=None, ge=1)
        """How many labels `scores` has; None: all."""

    Input = Text
    Target = Label
    Output = Answer
    tokenizers = {"text": "anyformer_nlp.tokenizers:Bpe"}
    trunk = "encoder"
    default_trunk = {"encoder": {"width": 128, "depth": 1, "attention": {"heads": 4}, "dropout": 0.3}}
    default_training = {
        "steps": 1500,
        "records": 32,
        "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.1},
        "schedule": {"name": "cosine", "warmup": 50},
    }
    # A trained model knows words already: few passes, small steps, and nothing left out.
    default_tuning = {
        "training.epochs": 3, "training.optimizer.lr": 1e-4, "config.token_dropout": 0.0, "config.dropout": 0.1,
        "config.smoothing": 0.0,
    }  # fmt: skip
    demo = "anyformer_nlp.demos:language_of_a_name"

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Weather or food, eight texts of different lengths."""
        weather = ("rain", "a storm from the west", "sunny, then clouds over the hills", "frost at night, -3 °C")
        food = ("bread", "soup with beans", "two eggs, a cup of flour and a little milk", "jalapeño and 小籠包")
        rows = [{"text": text, "label": "weather"} for text in weather]
        return rows + [{"text": text, "label": "food"} for text in food]

    def corpus(self, name: str, records: Sequence[Record[Text, Label]]) -> Iterable[str]:
        """The texts."""
        return (record.input.text for record in records)

    def fit(self, records: Sequence[Record[Text, Label]]) -> dict[str, Any]:
        """The labels in order, how often each occurs, and the log-likelihood of each id under each label.

        State: `labels` list of C names, `counts` int64 [C], `log_likelihood` float32 [C, V], smoothed by one.
        """
        size = self.tokens["text"].vocabulary_size
        seen: dict[str, Array] = {}
        counts: dict[str, int] = {}
        for record in records:
            label = record.target.label
            ids = self.tokens["text"].encode(record.input.text)["ids"]
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

    def encode(self, input: Text, options: Any) -> list[Sample]:
        """One sample for each window: part `source`, int64 [L] with L at most `context`."""
        return [self._sample(ids) for ids in self._windows(input)]

    def learn(self, record: Record[Text, Label], rng: Rng) -> list[Sample]:
        """One sample: a window drawn at random, some of its tokens left out; target `label`, int64 [1]."""
        windows = self._windows(record.input)
        ids = windows[rng.integers(len(windows))] if len(windows) > 1 else windows[0]
        if self.config.token_dropout:
            ids = ids[rng.random(len(ids)) >= self.config.token_dropout]
        sample = self._sample(ids)
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
            ids = self.tokens["text"].encode(input.text)["ids"]
            return self._answer(softmax(prior + likelihood[:, ids].sum(axis=1, dtype=np.float64)), None)

        return {"majority": majority, "naive_bayes": naive_bayes}

    def draw(self, input: Text, output: Answer, target: Label | None = None) -> Figure:
        """Bars of the probabilities; the true label is marked."""
        from anyformer_nlp.drawings import draw_labels

        return draw_labels(input.text, output.scores, None if target is None else target.label)

    def _windows(self, input: Text) -> list[Array]:
        """The ids of the text, cut evenly so that each piece fits `context` with its special ids."""
        tokenizer = self.tokens["text"]
        ids = tokenizer.encode(input.text)["ids"]
        return np.array_split(ids, max(1, -(-len(ids) // (self.config.context - tokenizer.num_special()))))

    def _sample(self, ids: Array) -> Sample:
        return Sample({"source": self.tokens["text"].single(ids)})

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
