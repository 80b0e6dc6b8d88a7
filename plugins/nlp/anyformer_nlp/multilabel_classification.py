"""`nlp/multilabel-classification`: a text to those of the labels that apply to it: none, one or many.

* How a text of any length is read is told in `whole_texts.py`, how rows say their labels in `label_columns.py`.
* A label that was not judged is neither yes nor no: it counts in no loss, no score and no baseline.
* Labels are scored by how they rank the texts, for which no threshold must be chosen, and by F1 at a threshold of one half.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from anyformer.hints import listed
from anyformer.task import Array, Data, Frozen, Metric, Prediction, Record, Rng, Rows, Sample
from anyformer_nlp.whole_texts import Text, TextConfig, WholeText

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Head
    from anyformer.nn.config import Trunk

Name = Annotated[str, Field(min_length=1)]


class Labels(Data):
    """The true answer."""

    labels: list[Name]
    """Those that apply."""
    unknown: list[Name] = []
    """Those of which it is not known whether they apply."""


class Answer(Data):
    """What is answered."""

    labels: list[str]
    """Those whose probability reaches the threshold, the greatest first."""
    scores: dict[str, float]
    """Probability of each label, the greatest first; they do not sum to 1."""


class MultilabelClassification(WholeText[Labels, Answer]):
    """A text to those labels that apply to it."""

    class Config(TextConfig):
        """Fixed by training."""

        separator: str = Field(default=",", min_length=1)
        """Between the labels where a row has them as one string."""
        columns: tuple[Name, ...] = ()
        """Columns of 1, 0 or nothing that are the labels, in place of a column `labels`."""
        balanced: bool = False
        """Weigh the yes of a label, in training, by how many no there are for each; it answers yes more often then."""

    class Options(Frozen):
        """Of one call."""

        threshold: float = Field(default=0.5, ge=0, le=1)
        """The least probability of a label that is said to apply."""

    Target = Labels
    Output = Answer

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Weather, food, both or neither, eight texts of different lengths; of two it is not known whether they are sad."""
        rows = [
            ("rain", "weather,sad"), ("a storm from the west, and no bread", "weather,food,sad"), ("a chair", ""),
            ("sunny, then clouds over the hills", "weather"), ("two eggs, a cup of flour and a little milk", "food"),
            ("the train is late", "sad"), ("jalapeño and 小籠包 in the snow", "weather,food"), ("soup with beans", "food"),
        ]  # fmt: skip
        unknown = {6: ["sad"], 7: ["sad"]}
        return [
            {"text": text, "labels": labels, "unknown": unknown.get(place, [])}
            for place, (text, labels) in enumerate(rows)
        ]

    def records(self, raw: Sequence[Mapping[str, Any]]) -> Sequence[Record[Text, Labels]]:
        """A row is a record, its labels in one of three ways."""
        from anyformer_nlp.label_columns import LabelRows

        return Rows(LabelRows(raw, self.config.separator, self.config.columns), Text, Labels)

    def fit(self, records: Sequence[Record[Text, Labels]]) -> dict[str, Any]:
        """The labels, how often each applies and is known, and what each id says for it.

        State: `labels` list of C names, `counts` int64 [2, C] of yes and no, `log_odds` float32 [C, V]: the logarithm of an
        id's share in texts with the label over its share in those without, both smoothed by one.
        """
        labels = list(self.config.columns) or sorted({label for record in records for label in record.target.labels})
        if not labels:
            raise ValueError("no record of the training data has a label; see its column labels, or set config.columns")
        size = self.tokens["text"].vocabulary_size
        counts = np.zeros((2, len(labels)), dtype=np.int64)
        everywhere, seen, unseen = np.zeros(size), np.ones((len(labels), size)), np.zeros((len(labels), size))
        for record in records:
            ids = self.ids_of(record.input)
            np.add.at(everywhere, ids, 1)
            truth = _truth(record.target, labels)
            counts += [truth == 1, truth == 0]
            for label in np.flatnonzero(truth):
                np.add.at(seen[label] if truth[label] == 1 else unseen[label], ids, 1)
        without = everywhere + 2 - seen - unseen
        shares = [table / table.sum(axis=1, keepdims=True) for table in (seen, without)]
        return {"labels": labels, "counts": counts, "log_odds": np.log(shares[0] / shares[1]).astype(np.float32)}

    def learn(self, record: Record[Text, Labels], rng: Rng) -> list[Sample]:
        """One sample: a window drawn at random, some of its tokens left out; target `labels`, int64 [1, C]."""
        sample = self.drawn(record.input, rng)
        sample.targets["labels"] = _truth(record.target, self.state["labels"])[None]
        return [sample]

    def head(self, trunk: Trunk) -> Head:
        """A linear layer over the pooled vector."""
        from anyformer.heads import MultiLabel

        return MultiLabel(
            trunk.output.width,
            len(self.state["labels"]),
            pool=self.config.pooling,
            hidden=self.config.hidden,
            dropout=self.config.dropout,
            positive_weights=self._positive_weights(),
        )

    def decode(self, input: Text, samples: list[Sample], predictions: list[Prediction], options: Any) -> Answer:
        """The mean probability over the windows."""
        logits = np.stack([prediction.values["logits"] for prediction in predictions]).astype(np.float64)
        return self._answer(sigmoid(logits).mean(axis=0), options.threshold)

    def metrics(self) -> list[Metric]:
        """How the labels rank the texts, and F1."""
        from anyformer.metrics import LabelRanking, MultiLabelF1

        return [LabelRanking(self.state["labels"]), MultiLabelF1(self.state["labels"])]

    def baselines(self) -> dict[str, Callable[[Text], Answer]]:
        """`frequencies`: how often each label applies; `naive_bayes`: multinomial, over the tokenizer's ids, label by label.

        A checkpoint says nothing of the data it learned from: there, `half` says one half for each label.
        """
        if "counts" not in self.state:
            half = np.full(len(self.state["labels"]), 0.5)
            return {"half": lambda input: self._answer(half, 0.5)}
        yes, no = np.asarray(self.state["counts"], dtype=np.float64) + 1
        log_odds = np.asarray(self.state["log_odds"])

        def naive_bayes(input: Text) -> Answer:
            said = log_odds[:, self.ids_of(input)].sum(axis=1, dtype=np.float64)
            return self._answer(sigmoid(np.log(yes / no) + said), 0.5)

        return {"frequencies": lambda input: self._answer(yes / (yes + no), 0.5), "naive_bayes": naive_bayes}

    def draw(self, input: Text, output: Answer, target: Labels | None = None) -> Figure:
        """Bars of the probabilities; the true labels are marked."""
        from anyformer_nlp.drawings import draw_labels

        return draw_labels(input.text, output.scores, () if target is None else target.labels)

    def _positive_weights(self) -> list[float] | None:
        if not self.config.balanced or "counts" not in self.state:
            return None
        yes, no = np.maximum(self.state["counts"], 1)
        weights: list[float] = (no / yes).tolist()
        return weights

    def _answer(self, probabilities: Array, threshold: float) -> Answer:
        """Labels by probability [C], equals in order of the labels."""
        order = np.argsort(-probabilities, kind="stable")
        scores = {self.state["labels"][index]: float(probabilities[index]) for index in order}
        return Answer(labels=[label for label, score in scores.items() if score >= threshold], scores=scores)


def _truth(target: Labels, labels: Sequence[str]) -> Array:
    """For each label 1, 0, or -100 where it is not known, int64 [C].

    Raises `ValueError` for a label that training did not see.
    """
    for name in (*target.labels, *target.unknown):
        if name not in labels:
            raise ValueError(f"the label {name!r} was not in the training data; labels: {listed(labels)}")
    truth = np.array([int(label in target.labels) for label in labels], dtype=np.int64)
    truth[[label in target.unknown for label in labels]] = -100
    return truth


def sigmoid(logits: Array) -> Array:
    """Probabilities of logits, one by one, without overflow."""
    return np.exp(-np.logaddexp(0.0, -logits))
