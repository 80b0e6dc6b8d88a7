"""What the tasks of one answer a text share: reading it in windows, and the configuration of what reads it.

* A text longer than `context` is cut into windows of nearly equal length; the answer is the mean of theirs. Training draws
  one window of such a text each time it meets it, so that every record counts the same.
* Small data is memorised in minutes: `token_dropout` leaves out tokens at random in training (Iyyer et al. 2015).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from anyformer.task import Array, Data, Frozen, Record, Rng, Sample, Task
from anyformer.values import OutputT, TargetT


class Text(Data):
    """What is asked."""

    text: str
    """Any length; beyond `Config.context` tokens it is read in windows."""


class TextConfig(Frozen):
    """Fixed by training."""

    context: int = Field(default=256, ge=4)
    """The longest sequence of tokens, start and end included; a longer text is read in windows."""
    pooling: Literal["mean", "first", "last"] = "mean"
    """Which vector stands for the text: the mean of all, the start token's, or the end token's."""
    hidden: Literal["tanh", "relu", "gelu"] | None = None
    """Activation of a layer between the pooled vector and the answer: `tanh` in BERT, `relu` in DistilBERT."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """On the pooled vector."""
    token_dropout: float = Field(default=0.3, ge=0, lt=1)
    """Share of tokens left out in training, at random."""


class WholeText(Task[Text, TargetT, OutputT]):
    """A text to one answer. A task adds what the answer is."""

    Config = TextConfig
    Input = Text
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
    }  # fmt: skip

    def corpus(self, name: str, records: Sequence[Record[Text, TargetT]]) -> Iterable[str]:
        """The texts."""
        return (record.input.text for record in records)

    def encode(self, input: Text, options: Any) -> list[Sample]:
        """One sample for each window: part `source`, int64 [L] with L at most `context`."""
        return [self._sample(ids) for ids in self._windows(input)]

    def drawn(self, input: Text, rng: Rng) -> Sample:
        """One window drawn at random, some of its tokens left out: what a record is learned from this time."""
        windows = self._windows(input)
        ids = windows[rng.integers(len(windows))] if len(windows) > 1 else windows[0]
        if self.config.token_dropout:
            ids = ids[rng.random(len(ids)) >= self.config.token_dropout]
        return self._sample(ids)

    def ids_of(self, input: Text) -> Array:
        """All ids of the text, int64 [L]: what the baselines read."""
        ids: Array = self.tokens["text"].encode(input.text)["ids"]
        return ids

    def _windows(self, input: Text) -> list[Array]:
        """The ids of the text, cut evenly so that each piece fits `context` with its special ids."""
        ids = self.ids_of(input)
        return np.array_split(ids, max(1, -(-len(ids) // (self.config.context - self.tokens["text"].num_special()))))

    def _sample(self, ids: Array) -> Sample:
        return Sample({"source": self.tokens["text"].single(ids)})
