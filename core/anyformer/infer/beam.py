"""Beam search of one sample: the likeliest answers by their whole, not token by token.

* Every step looks at the best continuations of all beams, twice as many as there are beams or more, so that enough go on
  when some end. Only those among the first `num_beams` become answers when they end.
* An answer scores its log probability, the end's included, over its length to the power `length_penalty` (Wu et al. 2016,
  https://arxiv.org/abs/1609.08144). The prompt does not count.
* The rules of stopping are those of `generate` in the library transformers, which published models were scored with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from anyformer.infer.draft import Draft, Proposal, prediction
from anyformer.infer.options import Generation
from anyformer.task import Array, Prediction


@dataclass(frozen=True, eq=False)
class _Answer:
    """An answer that has ended."""

    score: float
    ids: Array


def num_continuations(num_beams: int, num_ends: int) -> int:
    """Continuations to look at, so that `num_beams` go on even if every beam takes every end."""
    return max(2, 1 + num_ends) * num_beams


class Beams:
    """The beams of one sample."""

    def __init__(self, draft: Draft, options: Generation) -> None:
        self.drafts = [draft]
        self.options = options
        self.request = draft.request
        self.answers: list[_Answer] = []
        """Those that have ended, best first, `num_beams` at most."""

    def step(self, proposals: Sequence[Sequence[Proposal]]) -> None:
        """Go one token further, given the best tokens of each beam with their log probabilities."""
        num_beams, ends = self.options.num_beams, self.request.ends
        found = [
            (draft.score + score, draft, token)
            for draft, proposed in zip(self.drafts, proposals, strict=True)
            for score, token in proposed
            if score > -inf
        ]
        found.sort(key=lambda each: -each[0])
        going = []
        for rank, (score, draft, token) in enumerate(found[: num_continuations(num_beams, len(ends))]):
            if not draft.ends(token):
                going.append(Draft(self.request, draft.slot, [*draft.written, token], score))
            elif rank < num_beams:
                self._end(draft.answer(token), score, len(draft.written) + 1)
        if not found:  # the rules forbid every token: all that is written is the answer
            for draft in self.drafts:
                self._end(np.array(draft.written, np.int64), draft.score, max(1, len(draft.written)))
        self.drafts = going[:num_beams]
        if self.drafts and not self._may_improve():
            self.drafts = []

    def _end(self, ids: Array, score: float, length: int) -> None:
        self.answers.append(_Answer(score / length**self.options.length_penalty, ids))
        self.answers.sort(key=lambda answer: -answer.score)
        del self.answers[self.options.num_beams :]

    def _may_improve(self) -> bool:
        """Whether a beam may still end better than the worst of the answers, as far as `early_stopping` wants to know."""
        options = self.options
        if len(self.answers) < options.num_beams:
            return True
        if options.early_stopping is True:
            return False
        best = self.drafts[0]
        longest = options.early_stopping == "never" and options.length_penalty > 0
        length = self.request.limit if longest else len(best.written)
        return best.score / length**options.length_penalty > self.answers[-1].score

    def prediction(self) -> Prediction:
        """The best `num_answers` with their scores; fewer where fewer have ended."""
        best = self.answers[: self.options.num_answers]
        return prediction([answer.ids for answer in best], [answer.score for answer in best])
