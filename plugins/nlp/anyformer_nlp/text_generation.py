"""`nlp/text-generation`: a prompt to what follows it, by a decoder.

* A row with a `continuation` is learned given its prompt. A row of text alone, as a line of a `.txt` file is, is learned
  whole; to be scored, it is cut near its middle, and its second half is the truth.
* A text beyond `context` tokens is learned in windows, one drawn at random each time it is met. A prompt is never cut: one
  that leaves no room to write is refused.
* Prompt and continuation are learned as the ids of one text. Where a token spans the seam, it is learned too.
* A prompt begins with what the tokenizer sets before a text. With a tokenizer that sets nothing (GPT-2's), an empty prompt
  is its end id: what follows the end of a text is the beginning of another.
* Scores are of what is written. How probable the model finds the truth (perplexity) is no part of an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from anyformer.infer.options import Generation, answers, log_probabilities
from anyformer.task import Array, Data, Frozen, Metric, Prediction, Record, Rng, Rows, Sample, Task
from anyformer_nlp import bigrams
from anyformer_nlp.continuations import Halved, held_back, num_shared

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Head
    from anyformer.nn.config import Trunk

IGNORED = -100
"""The label of a token that is given, not learned."""
MAX_BASELINE = 100
"""Words that a baseline writes at most."""


class Prompt(Data):
    """What is asked."""

    text: str
    """What to go on from; may be empty."""


class Truth(Data):
    """What follows in truth."""

    continuation: str
    """It begins with the space that parts it from the prompt, where there is one."""
    whole: bool = False
    """Learn the prompt too, as one text with its continuation; so of a row that has only a text."""


class Continuation(Data):
    """What is answered."""

    text: str
    """What follows the prompt, its first space included: prompt and text are one text."""
    ended: Literal["end", "stop", "limit"] | None = None
    """The model ended it; a stop string did; it is as long as it may be. None: more is to come."""
    alternatives: list[str] = []
    """The other answers, where `num_answers` asks for more than one; of beams, the best first."""
    log_probabilities: list[float] | None = None
    """Of each token of the answer, before it is cut at a stop; where they are asked for."""


class TextGeneration(Task[Prompt, Truth, Continuation]):
    """A prompt to what follows it."""

    class Config(Frozen):
        """Fixed by training."""

        context: int = Field(default=512, ge=2)
        """Tokens of a prompt and what follows, special ones included, at most."""
        tied: bool = True
        """Score the next token with the embedding's own table (Press and Wolf 2017)."""
        bias: bool = False
        """A number for each token of the vocabulary beside it."""
        scale: float = Field(default=1.0, gt=0)
        """Factor of what the vocabulary is scored with."""

    class Options(Generation):
        """Of one call."""

        stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
        """Texts that end the answer: it is cut before the first of them."""

    Input = Prompt
    Target = Truth
    Output = Continuation
    tokenizers = {"text": "anyformer_nlp.tokenizers:Bpe"}
    trunk = "decoder"
    default_trunk = {"decoder": {"width": 256, "depth": 4, "causal": True, "attention": {"heads": 4}, "dropout": 0.1}}
    default_training = {
        "steps": 3000,
        "records": 32,
        "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.1},
        "schedule": {"name": "cosine", "warmup": 100},
    }
    solver = "anyformer.infer.solvers:generate"

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Prompts with what follows, and texts alone."""
        pairs = {
            "A dog": " runs in the snow.",
            "The woman reads": " a book about the sea, and falls asleep.",
            "": "Once upon a time there was a frog.",
            "frost at night,": " -3 °C",
            "Q: 2 + 2?\nA:": " 4",
        }
        texts = ("The train is late again.", "jalapeño and 小籠包 with a little rice", "snow")
        rows: list[dict[str, Any]] = [{"text": text, "continuation": after} for text, after in pairs.items()]
        return rows + [{"text": text} for text in texts]

    def records(self, raw: Sequence[Mapping[str, Any]]) -> Sequence[Record[Prompt, Truth]]:
        """A row is a record; one without a `continuation` is cut in two, and marked as one to be learned whole."""
        return Rows(Halved(raw, self.config.context // 2), self.Input, self.Target)

    def corpus(self, name: str, records: Sequence[Record[Prompt, Truth]]) -> Iterable[str]:
        """Prompts with what follows them."""
        return (_whole(record) for record in records)

    def fit(self, records: Sequence[Record[Prompt, Truth]]) -> dict[str, Any]:
        """State: `following`, for each frequent word the one that most often follows it, and `num_words`, the middle
        number of words of what is to be written, 1 to 100.
        """
        lengths = [len(record.target.continuation.split()) for record in records]
        middle = int(np.median(lengths)) if lengths else 0
        following = bigrams.learn(_whole(record) for record in records)
        return {"following": following, "num_words": min(max(middle, 1), MAX_BASELINE)}

    def encode(self, input: Prompt, options: Any) -> list[Sample]:
        """One sample: `target` is the prompt, int64 [L]; notes say what ends the answer, and how long it may be."""
        prompt = np.concatenate(self._prompt(input.text))
        room = self.config.context - len(prompt)
        if room < 1:
            raise ValueError(
                f"'text' has {len(prompt):,} tokens; this model reads and writes {self.config.context:,} in all, so give "
                f"{self.config.context - 1:,} at most"
            )
        stops = {"stopped": lambda ids: any(stop in self._text(prompt, ids, False) for stop in options.stop)}
        notes = {"end": self._end, "max_new_tokens": room, **(stops if options.stop else {})}
        return [Sample({"target": prompt}, notes=notes)]

    def learn(self, record: Record[Prompt, Truth], rng: Rng) -> list[Sample]:
        """One sample: `target` is all but the end, `labels` the token after each, `IGNORED` within the prompt.

        Raises `ValueError` for a prompt and continuation beyond the context; a whole text gives a window of it.
        """
        start, prompt = self._prompt(record.input.text)
        ids = self.tokens["text"].encode(_whole(record))["ids"]
        whole = record.target.whole
        if whole and not len(start):
            start = np.array([self._end])
        given = len(start) + (0 if whole else num_shared(prompt, ids))
        sequence = np.concatenate([start, ids, [self._end]]).astype(np.int64)
        target, labels = sequence[:-1], sequence[1:].copy()
        labels[: max(0, given - 1)] = IGNORED
        beyond = len(target) - self.config.context
        if beyond > 0 and not whole:
            raise ValueError(
                f"'text' and 'continuation' have {len(target):,} tokens; this model reads and writes "
                f"{self.config.context:,} in all: shorten them, or train with a greater config.context"
            )
        first = int(rng.integers(beyond + 1)) if beyond > 0 else 0
        window = slice(first, first + self.config.context)
        return [Sample({"target": target[window]}, {"labels": labels[window]})]

    def head(self, trunk: Trunk) -> Head:
        """The next token. Raises `ValueError` for a decoder that sees what it is to write, or reads an encoder."""
        from anyformer.heads import LanguageModel

        if not trunk.output.causal or trunk.output.cross:
            raise ValueError(
                "a text is written left to right from its prompt alone: trunk.decoder needs causal=true, cross=false"
            )
        config = self.config
        return LanguageModel(
            trunk.output.width, self.tokens["text"].vocabulary_size, stream="target", tied=config.tied, bias=config.bias,
            scale=config.scale,
        )  # fmt: skip

    def decode(self, input: Prompt, samples: list[Sample], predictions: list[Prediction], options: Any) -> Continuation:
        """The ids as text, cut before the first stop string; of a stream, the text that no later piece will change."""
        (sample,), (prediction,) = samples, predictions
        best, *others = (self._answer(sample, ids, prediction.final, options) for ids in answers(prediction))
        texts = [other.text for other in others]
        return best.model_copy(update={"alternatives": texts, "log_probabilities": log_probabilities(prediction)})

    def metrics(self) -> list[Metric]:
        """chrF of what is written, the share of right next words, and the share of answers equal to the truth."""
        from anyformer.metrics import ExactMatch
        from anyformer_nlp.continuation_metrics import ContinuationChrf, FirstWord

        exact = ExactMatch(lambda output: output.text.strip(), lambda target: target.continuation.strip())
        return [ContinuationChrf(), FirstWord(), exact]

    def baselines(self) -> dict[str, Callable[[Prompt], Continuation]]:
        """`repeat`: the prompt's last words again; `frequent`: word by word, what most often follows.

        Of a model that was read from a checkpoint, `frequent` knows no words and writes none.
        """
        following, num_words = self.state.get("following", {}), int(self.state.get("num_words", 10))
        return {
            "repeat": lambda input: Continuation(text=bigrams.repeat(input.text, num_words), ended="limit"),
            "frequent": lambda input: Continuation(text=bigrams.write(input.text, following, num_words), ended="limit"),
        }

    def draw(self, input: Prompt, output: Continuation, target: Truth | None = None) -> Figure:
        """The prompt, what was written, and what follows in truth."""
        from anyformer_nlp.drawings import draw_texts

        truth = [] if target is None else [("truth", target.continuation)]
        return draw_texts([("prompt", input.text), ("output", output.text), *truth])

    @property
    def _end(self) -> int:
        end: int | None = self.tokens["text"].end_id
        if end is None:
            raise ValueError("this tokenizer has no end id, so a text would never end; use one that has, as nlp/bpe")
        return end

    def _prompt(self, text: str) -> tuple[Array, Array]:
        """The special ids that begin a prompt, and the ids of its text: int64."""
        tokenizer = self.tokens["text"]
        ids: Array = tokenizer.encode(text)["ids"]
        place_of_text = -1  # no id
        around = tokenizer.single(np.array([place_of_text])).tolist()
        start = around[: around.index(place_of_text)] or ([] if len(ids) else [self._end])
        return np.array(start, dtype=np.int64), ids

    def _answer(self, sample: Sample, ids: Array, final: bool, options: Any) -> Continuation:
        """One answer from its ids [n]."""
        text = self._text(sample.parts["target"], ids, final)
        found = [place for place in (text.find(stop) for stop in options.stop) if place >= 0]
        if found:
            return Continuation(text=text[: min(found)], ended="stop")
        if not final:
            return Continuation(text=text[: len(text) - held_back(text, options.stop)])
        is_short = len(ids) < min(options.max_new_tokens, sample.notes["max_new_tokens"])
        return Continuation(text=text, ended="end" if is_short else "limit")

    def _text(self, prompt: Array, ids: Array, final: bool) -> str:
        """What ids add to the text of a prompt: by themselves they would lose the space they begin with."""
        tokenizer = self.tokens["text"]
        before: str = tokenizer.decode(prompt)
        text: str = tokenizer.decode(np.concatenate([prompt, ids]), final=final)
        # A tokenizer that mends spaces may write the prompt itself otherwise, once something follows.
        return text[len(before) :] if text.startswith(before) else tokenizer.decode(ids, final=final)


def _whole(record: Record[Prompt, Truth]) -> str:
    return record.input.text + record.target.continuation
