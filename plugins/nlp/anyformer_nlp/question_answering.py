"""`nlp/question-answering`: a question and a text to the piece of the text that answers it, or to "there is no answer".

* As BERT does it (Devlin et al. 2019, https://arxiv.org/abs/1810.04805): question and context are one sequence, each token
  has a score as start and one as end, and the first token stands for no answer (SQuAD 2.0).
* A long context is read in windows that overlap by half or more, so every token is in one. All windows of a record are
  learned at once, those without the answer as having none. A question too long for `context` is refused, never cut.
* The windows are joined before an answer is chosen: a span counts with its best score in any window, no answer with its
  worst. Probabilities are over all legal spans of the context and no answer.
* Data: rows with question, context and answers, or SQuAD files of version 1 and 2 as they are (`data="train.json.gz"`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from anyformer.hints import quoted
from anyformer.task import Frozen, Metric, Prediction, Record, Rng, Rows, Sample, Task
from anyformer_nlp.answers import Answer, Candidate, Question, TrueAnswer, TrueAnswers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Head
    from anyformer.nn.config import Trunk


class QuestionAnswering(Task[Question, TrueAnswers, Answer]):
    """A question and a text to the piece of the text that answers it."""

    class Config(Frozen):
        """Fixed by training."""

        context: int = Field(default=384, ge=16)
        """Tokens of a window: question, piece of the context and special ids."""
        stride: int = Field(default=128, ge=1)
        """Tokens from the beginning of one window to that of the next; at most half a window's piece of the context."""
        dropout: float = Field(default=0.1, ge=0, lt=1)
        """Before the scores."""

    class Options(Frozen):
        """Of one call."""

        top: int = Field(default=1, ge=1, le=100)
        """How many candidates to give."""
        longest: int = Field(default=30, ge=1, le=200)
        """Tokens an answer may have."""
        threshold: float | None = None
        """There is no answer if its log-probability is above that of the best span by more than this. None: 0, but where all
        questions of the training data had answers, a span is answered always."""

    Input = Question
    Target = TrueAnswers
    Output = Answer
    tokenizers = {"text": "anyformer_nlp.tokenizers:Bpe"}
    trunk = "encoder"
    default_trunk = {
        "encoder": {
            "width": 128, "depth": 3, "attention": {"heads": 4}, "dropout": 0.1, "embedding": {"segments": 2},
        }
    }  # fmt: skip
    default_training = {
        "epochs": 3,
        "records": 32,
        "optimizer": {"name": "adamw", "lr": 5e-5, "weight_decay": 0.01, "betas": (0.9, 0.999)},
        "schedule": {"name": "linear", "warmup": 50},
    }

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Eight questions about four texts; one has no answer, and one has two."""
        return [dict(row) for row in _EXAMPLES]

    def records(self, raw: Sequence[Any]) -> Sequence[Record[Question, TrueAnswers]]:
        """A question each. Rows that are articles of a SQuAD file are opened; their questions are counted at once."""
        from anyformer_nlp.squad import questions

        return Rows(questions(raw), self.Input, self.Target)

    def corpus(self, name: str, records: Sequence[Record[Question, TrueAnswers]]) -> Iterable[str]:
        """The questions and the contexts; one that several questions in a row share comes once."""
        last = None
        for record in records:
            if record.input.context != last:
                yield record.input.context
            last = record.input.context
            yield record.input.question

    def fit(self, records: Sequence[Record[Question, TrueAnswers]]) -> dict[str, Any]:
        """State: `unanswerable`, the share of questions without an answer."""
        return {"unanswerable": sum(not record.target.answers for record in records) / len(records)}

    def encode(self, input: Question, options: Any) -> list[Sample]:
        """One sample a window: parts `source` and `source_segments`, int64 [L] with L at most `context`.

        Notes: `begin`, the window's first token of the context; `at`, where that stands in `source`; `spans`, the
        characters of the window's tokens of the context, int64 [N, 2]. Raises `ValueError` for a question that is too
        long, or has no token.
        """
        from anyformer_nlp.windows import windows

        return windows(self.tokens["text"], input.question, input.context, self.config.context, self.config.stride)

    def learn(self, record: Record[Question, TrueAnswers], rng: Rng) -> list[Sample]:
        """All windows; targets `start` and `end`, int64 [1]: where an answer, drawn at random of those that are right,
        stands in `source`, and 0 in a window that does not hold all of it.

        Raises `ValueError` for an answer that does not stand where it says, or fits in no window.
        """
        from anyformer_nlp.windows import places

        samples = self.encode(record.input, None)
        answers = record.target.answers
        found: Sequence[tuple[int, int]] = [(0, 0)] * len(samples)
        if answers:
            answer = answers[rng.integers(len(answers))]
            found = places(samples, *self._characters(answer, record.input.context))
            if not any(start for start, _ in found):
                raise ValueError(
                    f"the answer {quoted(answer.text)} fits in no window of context={self.config.context} tokens "
                    "beside its question; set a longer context, or leave the record out"
                )
        for sample, (start, end) in zip(samples, found, strict=True):
            sample.targets = {"start": np.array([start], dtype=np.int64), "end": np.array([end], dtype=np.int64)}
        return samples

    def head(self, trunk: Trunk) -> Head:
        """A linear layer from each token to two scores."""
        from anyformer.heads import Span

        return Span(trunk.output.width, dropout=self.config.dropout)

    def decode(self, input: Question, samples: list[Sample], predictions: list[Prediction], options: Any) -> Answer:
        """The best span of all windows, or no answer."""
        from anyformer_nlp.windows import best_spans

        scores = [(prediction.values["start"], prediction.values["end"]) for prediction in predictions]
        spans, null = best_spans(input.context, samples, scores, options.longest, options.top)
        no_answer = float(np.exp(null))
        candidates = [
            Candidate(answer=input.context[start:end], start=start, end=end, score=float(np.exp(score)))
            for start, end, score in spans
        ]
        threshold = options.threshold
        if threshold is None:
            threshold = 0.0 if self.state.get("unanswerable", 1.0) else np.inf
        if not spans or null - spans[0][2] > threshold:
            return Answer(answer="", start=None, end=None, score=no_answer, no_answer=no_answer, candidates=candidates)
        return Answer(**candidates[0].model_dump(), no_answer=no_answer, candidates=candidates)

    def metrics(self) -> list[Metric]:
        """F1 and exact match as SQuAD scores them, in percent."""
        from anyformer_nlp.squad import Squad

        return [Squad()]

    def baselines(self) -> dict[str, Callable[[Question], Answer]]:
        """`overlap`: in the sentence that shares most words with the question, the last words that it does not share;
        `no_answer`: says always that there is none. Both need nothing that was learned; no answer has the probability it
        had in training, or 0 where that is not known.
        """
        from anyformer_nlp.overlap import overlap_span

        share = float(self.state.get("unanswerable", 0.0))

        def no_answer(input: Question) -> Answer:
            return Answer(answer="", start=None, end=None, score=share, no_answer=share)

        def overlap(input: Question) -> Answer:
            span = overlap_span(input.question, input.context)
            if span is None:
                return no_answer(input)
            text = input.context[slice(*span)]
            return Answer(answer=text, start=span[0], end=span[1], score=1 - share, no_answer=share)

        return {"overlap": overlap, "no_answer": no_answer}

    def draw(self, input: Question, output: Answer, target: TrueAnswers | None = None) -> Figure:
        """The context with the answer marked, and the true answer under it."""
        from anyformer_nlp.marked import draw_marked

        answer = None if output.start is None or output.end is None else (output.start, output.end)
        truths = None if target is None else [(true.start, true.start + len(true.text)) for true in target.answers]
        return draw_marked(input.question, input.context, answer, truths)

    def _characters(self, answer: TrueAnswer, context: str) -> tuple[int, int]:
        """The characters [from, to) of a true answer, without white space around it."""
        text = answer.text
        if (there := context[answer.start : answer.start + len(text)]) != text:
            place = context.find(text)
            hint = f"it stands at {place}" if place >= 0 else "it stands nowhere in it"
            raise ValueError(
                f"the answer {quoted(text)} does not begin at character {answer.start} of the context, where "
                f"{quoted(there)} is; {hint}"
            )
        return answer.start + len(text) - len(text.lstrip()), answer.start + len(text.rstrip())


_RIVER = "The Elbe rises in the Giant Mountains and flows through Dresden, Magdeburg and Hamburg to the North Sea."
_BREAD = "Ana bakes bread on Mondays. Her brother sells it at the market for two euros a loaf."
_TOWER = "The tower was built in 1889."
_BIRDS = (
    "Swifts sleep, eat and drink in the air. Most of them spend the winter in Africa and come back in May.\n\n"
    "Their young stay in the nest for about six weeks, and need no lessons to fly. In 2016, three Swedish researchers found "
    "that a swift may stay in the air for ten months without landing once."
)


def _row(question: str, context: str, *texts: str) -> dict[str, Any]:
    """A question whose answers are the first occurrences of `texts` in the context."""
    return {
        "question": question,
        "context": context,
        "answers": [{"text": text, "start": context.index(text)} for text in texts],
    }


_EXAMPLES = (
    _row("Who bakes bread?", _BREAD, "Ana"),
    _row("How much is a loaf?", _BREAD, "two euros", "two euros a loaf"),
    _row("Where does the Elbe rise?", _RIVER, "the Giant Mountains", "Giant Mountains"),
    _row("Into which sea does it flow, after Hamburg?", _RIVER, "North Sea"),
    _row("When was the tower built?", _TOWER, "1889"),
    _row("Who built the tower?", _TOWER),
    _row("Where are swifts in winter?", _BIRDS, "Africa"),
    _row("For how long can a swift stay in the air, as researchers found in 2016?", _BIRDS, "ten months"),
)
