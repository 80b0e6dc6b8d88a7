"""A plugin of the tests: words of the letters a, b, c, d, tiny enough to train in a blink, with all that makes training hard
to repeat: dropout in the trunk, letters left out by `learn`, records of different lengths, tied weights, a learned state.

| task            | from -> to                           | built from                           |
|-----------------|--------------------------------------|--------------------------------------|
| letters/richest | a word -> its most frequent letter   | encoder, heads.Classifier            |
| letters/reverse | a word -> the word backwards         | encoder-decoder, heads.LanguageModel |
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from anyformer import TaskSpec, TokenizerSpec, hookimpl
from anyformer.infer.options import Generation
from anyformer.task import Array, Data, Demo, Frozen, Metric, Prediction, Record, Rng, Sample, Task, Tokenizer

START, END, MASK = range(3)


@hookimpl
def anyformer_tasks() -> Mapping[str, TaskSpec]:
    return {
        "richest": TaskSpec("anyformer_letters:Richest", "a word to its most frequent letter"),
        "reverse": TaskSpec("anyformer_letters:Reverse", "a word to the word backwards"),
    }


@hookimpl
def anyformer_tokenizers() -> Mapping[str, TokenizerSpec]:
    return {
        "seen": TokenizerSpec("anyformer_letters:Seen", "the letters that the corpus has"),
        "fixed": TokenizerSpec("anyformer_letters:FixedLetters", "a to h, nothing to learn"),
    }


@hookimpl
def anyformer_presets() -> Mapping[str, Callable[[], Any]]:
    from anyformer.nn import config

    stack = config.Stack(width=8, depth=1, attention=config.Attention(heads=2))
    return {"flat": lambda: config.Trunk(encoder=stack)}


def words(count: int, seed: int = 0, longest: int = 9) -> list[dict[str, str]]:
    """Rows with all columns that the tasks need."""
    rng = np.random.default_rng(seed)
    found = ["".join(rng.choice(list("abcd"), rng.integers(1, longest + 1))) for _ in range(count)]
    return [{"text": word, "label": Counter(word).most_common(1)[0][0], "backwards": word[::-1]} for word in found]


class Seen(Tokenizer):
    """One id for each letter of the corpus, after start, end and mask."""

    class Config(Frozen):
        """What may be set."""

        most: int = Field(default=26, ge=1)
        """Letters at most."""

    end_id = END
    mask_id = MASK
    special_ids = frozenset((START, END, MASK))
    letters = ""

    def fit(self, corpus: Iterable[Any], rng: Rng) -> None:
        self._set("".join(sorted({letter for text in corpus for letter in text})[: self.config.most]))

    def encode(self, raw: Any) -> dict[str, Array]:
        strange = set(raw) - set(self.letters)
        if strange:
            raise ValueError(f"{min(strange)!r} is no letter of {self.letters!r}")
        return {"ids": np.array([self.letters.index(letter) + 3 for letter in raw], np.int64)}

    def decode(self, ids: Array, final: bool = True) -> str:
        return "".join(self.letters[index - 3] for index in ids.tolist() if index >= 3)

    def save(self, folder: Path) -> None:
        (folder / "letters.json").write_text(json.dumps(self.letters))

    def load(self, folder: Path) -> None:
        self._set(json.loads((folder / "letters.json").read_text()))

    def _set(self, letters: str) -> None:
        self.letters = letters
        self.vocabulary_size = 3 + len(letters)


class FixedLetters(Seen):
    """As `Seen`, with nothing to learn and no setting."""

    Config = Frozen

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._set("abcdefgh")

    def fit(self, corpus: Iterable[Any], rng: Rng) -> None:
        pass


class Word(Data):
    text: str = Field(min_length=1, max_length=200)


class Letter(Data):
    label: str


class Backwards(Data):
    backwards: str


class _OfWords(Task[Any, Any, Any]):
    """What both tasks share."""

    tokenizers = {"word": "anyformer_letters:Seen"}
    default_training = {"steps": 12, "records": 4, "log_every": 2, "schedule": {"name": "cosine", "warmup": 2}}
    demo = "anyformer_letters:demo"
    Input = Word

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        return [dict(row) for row in words(8)]

    def corpus(self, name: str, records: Sequence[Record[Any, Any]]) -> Iterable[Any]:
        return (record.input.text for record in records)

    def _ids(self, text: str, *ends: int) -> Array:
        return np.concatenate([self.tokens["word"].encode(text)["ids"], ends]).astype(np.int64)


class Richest(_OfWords):
    """A word to its most frequent letter."""

    class Config(Frozen):
        """Fixed by training."""

        left_out: float = Field(default=0.2, ge=0, lt=1)
        """Share of letters left out in training."""

    class Options(Frozen):
        """Of a call."""

        loud: bool = False
        """Answer in capitals."""

    Target = Letter
    Output = Letter
    default_trunk = {"encoder": {"width": 16, "depth": 2, "attention": {"heads": 2}, "dropout": 0.1}}

    def fit(self, records: Sequence[Record[Any, Any]]) -> dict[str, Any]:
        counts = Counter(record.target.label for record in records)
        labels = sorted(counts)
        return {"labels": labels, "counts": np.array([counts[label] for label in labels])}

    def encode(self, input: Word, options: Any) -> list[Sample]:
        return [Sample({"source": self._ids(input.text, END)})]

    def learn(self, record: Record[Any, Any], rng: Rng) -> list[Sample]:
        (sample,) = self.encode(record.input, self.Options())
        ids = sample.parts["source"]
        kept = ids[(rng.random(len(ids)) >= self.config.left_out) | (ids == END)]
        if record.target.label not in self.state["labels"]:
            raise ValueError(f"the label {record.target.label!r} was not in the training data")
        return [Sample({"source": kept}, {"label": np.array([self.state["labels"].index(record.target.label)])})]

    def head(self, trunk: Any) -> Any:
        from anyformer.heads import Classifier

        return Classifier(trunk.output.width, len(self.state["labels"]), dropout=0.1)

    def decode(self, input: Word, samples: list[Sample], predictions: list[Prediction], options: Any) -> Letter:
        label = self.state["labels"][int(predictions[0].values["logits"].argmax())]
        return Letter(label=label.upper() if options.loud else label)

    def metrics(self) -> list[Metric]:
        from anyformer.metrics import Accuracy

        return [Accuracy()]

    def baselines(self) -> dict[str, Callable[[Any], Any]]:
        most = self.state["labels"][int(self.state["counts"].argmax())]
        return {"majority": lambda input: Letter(label=most), "first": lambda input: Letter(label=input.text[0])}

    def draw(self, input: Word, output: Letter, target: Letter | None = None) -> Any:
        from matplotlib.figure import Figure

        return Figure()


class Reverse(_OfWords):
    """A word to the word backwards, written letter by letter."""

    Target = Backwards
    Output = Backwards
    Options = Generation
    trunk = "both"
    default_trunk = {
        "encoder": {"width": 16, "depth": 1, "attention": {"heads": 2}, "dropout": 0.1},
        "decoder": {"width": 16, "depth": 2, "attention": {"heads": 2}, "dropout": 0.1, "causal": True, "cross": True},
    }
    solver = "anyformer.infer.solvers:generate"

    def encode(self, input: Word, options: Any) -> list[Sample]:
        parts = {"source": self._ids(input.text, END), "target": np.array([START])}
        return [Sample(parts, notes={"end": END, "max_new_tokens": 2 * len(input.text)})]

    def learn(self, record: Record[Any, Any], rng: Rng) -> list[Sample]:
        source, target = self._ids(record.input.text, END), self._ids(record.target.backwards)
        return [
            Sample({"source": source, "target": np.append(START, target)}, {"labels": np.append(target, END)}),
        ]

    def head(self, trunk: Any) -> Any:
        from anyformer.heads import LanguageModel

        return LanguageModel(trunk.output.width, self.tokens["word"].vocabulary_size)

    def decode(self, input: Word, samples: list[Sample], predictions: list[Prediction], options: Any) -> Backwards:
        return Backwards(backwards=self.tokens["word"].decode(predictions[0].values["ids"]))

    def metrics(self) -> list[Metric]:
        from anyformer.metrics import ExactMatch

        return [ExactMatch("backwards")]

    def baselines(self) -> dict[str, Callable[[Any], Any]]:
        return {"copy": lambda input: Backwards(backwards=input.text)}

    def draw(self, input: Word, output: Backwards, target: Backwards | None = None) -> Any:
        from matplotlib.figure import Figure

        return Figure()


def demo() -> Demo:
    """For `anyformer demo`."""
    return Demo("words of four letters", words(16), words(8, seed=1), {"training.steps": 2})
