"""`nlp/fill-mask`: which tokens may stand for the marks in a text.

* A mark is whatever `Options.mark` says, found by the task: no spelling of a text becomes a special id in the tokenizer.
  Beside marks set off by spaces, where transformers' pipeline reads the same ids, letters right after a mark go on its word
  here (`[MASK]ing`), and begin one there.
* Training takes whole texts and hides tokens by itself, as BERT does (Devlin et al. 2019): it is the objective
  masked-token, on rows and with scores. Of a text longer than `context` it takes a window at random each time.
* In use, a mark of a longer text is read with as much around it on either side as fits; nothing else depends on more.
* The vocabulary is projected at the marks only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from anyformer.hints import quoted
from anyformer.task import Array, Frozen, Metric, Objective, Prediction, Record, Rng, Sample, Task
from anyformer_nlp.cloze import (
    MARK,
    TOP,
    Candidate,
    Clozes,
    Filled,
    Filling,
    Gap,
    Gaps,
    Hidden,
    filled,
    ids_around,
    whole,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Head, Model
    from anyformer.nn.config import Trunk


class FillMask(Task[Gaps, Hidden, Filling]):
    """Which tokens may stand for the marks in a text."""

    class Config(Frozen):
        """Fixed by training."""

        context: int = Field(default=256, ge=8)
        """The longest sequence of tokens, special ones included."""
        rate: float = Field(default=0.15, gt=0, lt=1)
        """Share of the tokens that are learned, in training."""
        hidden: Literal["gelu", "gelu_tanh", "relu", "silu"] | None = "gelu"
        """Activation of a layer with a norm before the vocabulary (BERT). None: no such layer."""
        bias: bool = True
        """A bias for each token."""
        tied: bool = True
        """Tokens are scored by the vectors that stand for them in the input."""
        epsilon: float = Field(default=1e-12, gt=0)
        """Of the norm."""

    class Options(Frozen):
        """Of one call."""

        mark: str = Field(default=MARK, min_length=1)
        """What a mark looks like in the text."""
        top: int | None = Field(default=TOP, ge=1)
        """Candidates for each mark; None: every token."""

    Input = Gaps
    Target = Hidden
    Output = Filling
    tokenizers = {"text": "anyformer_nlp.tokenizers:Bpe"}
    trunk = "encoder"
    default_trunk = {"encoder": {"width": 256, "depth": 4, "attention": {"heads": 4}, "dropout": 0.1}}
    default_training = {
        "steps": 4000,
        "records": 32,
        "tokens": 16384,
        "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01},
        "schedule": {"name": "cosine", "warmup": 200},
    }
    solver = "anyformer_nlp.fill_mask:at_marks"

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Short sentences of few words, some with marks set by hand."""
        return [
            {"text": "the dog sleeps"},
            {"text": "the cat sleeps on the red chair"},
            {"text": "the dog [MASK] on the red chair", "hidden": ["sleeps"]},
            {"text": "the cat and the dog eat"},
            {"text": "the red [MASK] and the red [MASK]", "hidden": ["cat", "dog"]},
            {"text": "the dog and the cat sleeps and eat"},
            {"text": "the cat eat on the chair"},
            {"text": "red cat, red dog, red chair"},
        ]

    def records(self, raw: Sequence[Any]) -> Clozes:
        """A row is a record; of a whole text, one token is hidden."""
        return Clozes(raw, self.tokens["text"])

    def corpus(self, name: str, records: Sequence[Record[Gaps, Hidden]]) -> Iterable[str]:
        """The whole texts."""
        if isinstance(records, Clozes):  # the tokenizer has not learned yet, so it cannot say what to hide
            return (records.whole(index) for index in range(len(records)))
        return (whole(record) for record in records)

    def fit(self, records: Sequence[Record[Gaps, Hidden]]) -> dict[str, Any]:
        """How often each token occurs: `counts` int64 [V]."""
        tokenizer = self.tokens["text"]
        counts = np.zeros(tokenizer.vocabulary_size, dtype=np.int64)
        for record in records:
            np.add.at(counts, tokenizer.encode(whole(record))["ids"], 1)
        return {"counts": counts}

    def encode(self, input: Gaps, options: Options) -> list[Sample]:
        """Part `source`, int64 [L] with L at most `context`: one sample, or for a longer text one for each mark.

        The note `marks` lists where in the sample its marks are. Raises `ValueError` for a text without a mark.
        """
        if options.mark not in input.text:
            raise ValueError(
                f"'text' has no {options.mark}; write one where a token is to be filled in: {quoted(input.text)}"
            )
        tokenizer = self.tokens["text"]
        if tokenizer.mask_id is None:
            raise ValueError("this model's tokenizer has no mask id; fill marks with a model that was trained with one")
        (ids, marks), room = ids_around(input.text, options.mark, tokenizer), self._room
        if len(ids) <= room:
            return [self._sample(ids, marks)]
        starts = np.clip(marks - room // 2, 0, len(ids) - room)
        return [self._sample(ids[s : s + room], np.array([m - s])) for m, s in zip(marks, starts, strict=True)]

    def learn(self, record: Record[Gaps, Hidden], rng: Rng) -> list[Sample]:
        """One sample of the whole text, tokens hidden at random: target `labels`, int64 [L]."""
        tokenizer = self.tokens["text"]
        ids = tokenizer.encode(whole(record))["ids"]
        start = int(rng.integers(len(ids) - self._room + 1)) if len(ids) > self._room else 0
        return self._masking.learn({"ids": tokenizer.single(ids[start : start + self._room])}, rng)

    def head(self, trunk: Trunk) -> Head:
        """A distribution over the vocabulary."""
        from anyformer.heads import LanguageModel

        chosen = self.config
        return LanguageModel(
            trunk.output.width, self.tokens["text"].vocabulary_size, stream="source", tied=chosen.tied, bias=chosen.bias,
            hidden=chosen.hidden, epsilon=chosen.epsilon,
        )  # fmt: skip

    def decode(self, input: Gaps, samples: list[Sample], predictions: list[Prediction], options: Options) -> Filling:
        """The most probable tokens of each mark."""
        logits = np.concatenate([prediction.values["logits"] for prediction in predictions]).astype(np.float64)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return self._answer(input, shares / shares.sum(axis=1, keepdims=True), options)

    def metrics(self) -> list[Metric]:
        """The share of marks that are filled rightly, at once and in five; and the perplexity."""
        tokenizer = self.tokens["text"]
        return [
            Filled(
                lambda text: tokenizer.decode(tokenizer.encode(text)["ids"]),
                tokenizer.vocabulary_size - len(tokenizer.special_ids),
            )
        ]

    def baselines(self) -> dict[str, Callable[[Gaps], Filling]]:
        """`unigram`: tokens as often as in training, each once more.

        A model that was read from a checkpoint has seen no training here: every token is then as probable as any other.
        """
        tokenizer, options = self.tokens["text"], self.Options()
        weights = np.asarray(self.state.get("counts", np.zeros(tokenizer.vocabulary_size))) + 1.0
        weights[sorted(tokenizer.special_ids)] = 0
        shares = weights / weights.sum()

        def unigram(input: Gaps) -> Filling:
            return self._answer(input, np.tile(shares, (input.text.count(options.mark), 1)), options)

        return {"unigram": unigram}

    def draw(self, input: Gaps, output: Filling, target: Hidden | None = None) -> Figure:
        """Bars of the candidates of each mark; the truth is green, or named."""
        from anyformer_nlp.cloze_drawing import draw_gaps

        gaps = [[(each.token, each.score) for each in gap.candidates] for gap in output.masks]
        return draw_gaps(input.text, gaps, None if target is None else target.hidden)

    @cached_property
    def _masking(self) -> Objective:
        """What hides tokens in training."""
        from anyformer.objectives import MaskedToken

        return MaskedToken(MaskedToken.Config(rate=self.config.rate), self.tokens["text"])

    @property
    def _room(self) -> int:
        """Tokens of a text that fit beside the special ones."""
        return int(self.config.context - self.tokens["text"].num_special())

    def _sample(self, ids: Array, marks: Array) -> Sample:
        tokenizer = self.tokens["text"]
        # Where the first id of the text is put by the special ones.
        lead = int(np.argmin(tokenizer.single(np.array([-1], dtype=np.int64))))
        return Sample({"source": tokenizer.single(ids)}, notes={"marks": (marks + lead).tolist()})

    def _answer(self, input: Gaps, shares: Array, options: Options) -> Filling:
        """Probabilities [M, V] of the tokens of each mark to an answer."""
        tokenizer = self.tokens["text"]
        allowed = np.setdiff1d(np.arange(shares.shape[1]), sorted(tokenizer.special_ids))
        best = [allowed[np.argsort(-row[allowed], kind="stable")[: options.top]].tolist() for row in shares]
        gaps = [
            Gap(candidates=[Candidate(token=tokenizer.decode([index]), score=float(row[index])) for index in indices])
            for row, indices in zip(shares, best, strict=True)
        ]
        return Filling(text=filled(input.text, options.mark, [self._written(first) for first, *_ in best]), masks=gaps)

    def _written(self, index: int) -> str:
        """A token as it is written after another: without the space before it, or the sign that it goes on a word."""
        tokenizer = self.tokens["text"]
        before = tokenizer.encode("x")["ids"].tolist()
        text: str = tokenizer.decode([*before, index])
        return text.removeprefix(tokenizer.decode(before)).strip()


def at_marks(
    model: Model, component: str, samples: Sequence[Sample], options: Any, seeds: Sequence[int]
) -> Iterator[tuple[int, Prediction]]:
    """A solver: one pass over all samples as one pack, and `logits` [M, V] at the M marks that each sample notes."""
    import torch

    from anyformer.data.packs import collate

    parts, _ = collate(samples, next(model.parameters()).device)
    counts = [len(sample.notes["marks"]) for sample in samples]
    with torch.inference_mode():
        streams = model.encode(parts, component)
        marks = torch.tensor([mark for sample in samples for mark in sample.notes["marks"]])
        firsts = torch.repeat_interleave(streams["source"].pack.bounds[:, 0], torch.tensor(counts))
        logits = model[component].head(streams, at=(firsts + marks).to(streams["source"].x_TD.device)).float().cpu()
    for place, rows in enumerate(logits.split(counts)):
        yield place, Prediction({"logits": rows.numpy()})
