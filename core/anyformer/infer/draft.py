"""Answers on their way: what a sample asks for, a draft of an answer, and the search that follows single drafts.

* A search owns the drafts of one sample and decides, from the proposals of each, which drafts go on. Every draft is one row
  of the batch and one slot of the cache.
* This module imports no torch: what comes from the device is a short list of proposals for each draft.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

import numpy as np

from anyformer.infer.options import Generation
from anyformer.task import Array, Prediction, Rng, Sample

Proposal = tuple[float, int]
"""A token that may come next, and its score: minus infinity is forbidden. Where beams are searched or log probabilities are
asked for, the score is one."""


@dataclass(frozen=True)
class Request:
    """What a sample asks for: its prompt, and the notes that bound its answer."""

    prompt: Array
    """Ids that are there before the answer, int64 [n]."""
    ends: frozenset[int]
    """Ids that end an answer, and are no part of it."""
    limit: int
    """Tokens at most, the end included."""
    forced: Mapping[int, int] = field(default_factory=dict)
    """Step to the id that must come then; step -1 is the last that the limit allows, -2 the one before it."""
    suppressed: tuple[int, ...] = ()
    """Ids that are never chosen."""
    stopped: Callable[[Array], bool] | None = None
    """Whether an answer is over that has these ids [n] so far, for a reason that no single id is."""

    @classmethod
    def of(cls, sample: Sample, options: Generation) -> Request:
        """The request of a sample, from its part `target` and its notes."""
        notes, end = sample.notes, sample.notes.get("end")
        ends = [] if end is None else [int(end)] if isinstance(end, int | np.integer) else [int(each) for each in end]
        return cls(
            prompt=sample.parts["target"],
            ends=frozenset(ends),
            limit=min(options.max_new_tokens, int(notes.get("max_new_tokens", options.max_new_tokens))),
            forced={int(step): int(token) for step, token in notes.get("forced", {}).items()},
            suppressed=tuple(int(token) for token in notes.get("suppressed", ())),
            stopped=notes.get("stopped"),
        )

    def forced_at(self, step: int) -> int | None:
        """The id that must come at this step, if any."""
        return self.forced.get(step, self.forced.get(step - self.limit))


@dataclass(eq=False)
class Draft:
    """The beginning of an answer."""

    request: Request
    slot: int
    """Of the cache, where its keys and values lie."""
    written: list[int] = field(default_factory=list)
    score: float = 0.0
    """Sum of the log probabilities of what is written, where beams are searched."""
    log_probabilities: list[float] | None = None
    """Of what is written, where they are asked for."""
    rng: Rng | None = None
    """Where tokens are drawn; each answer has its own, so that it does not depend on the others."""

    @property
    def ids(self) -> Array:
        """What is written, int64 [n]."""
        return np.array(self.written, np.int64)

    @property
    def last(self) -> bool:
        """Whether the next token is the last that the limit allows."""
        return len(self.written) + 1 >= self.request.limit

    def ends(self, token: int) -> bool:
        """Whether nothing comes after `token`."""
        return self.last or token in self.request.ends

    def answer(self, token: int) -> Array:
        """The whole answer, int64 [n], if `token` is its last; an end is no part of it."""
        return np.array(self.written if token in self.request.ends else [*self.written, token], np.int64)


class Search(Protocol):
    """What follows the drafts of one sample."""

    drafts: list[Draft]
    """Those that go on; none: the sample is answered."""

    def step(self, proposals: Sequence[Sequence[Proposal]]) -> None:
        """Go one token further, given the proposals for each draft, best first."""

    def prediction(self) -> Prediction:
        """The answers, once no draft goes on."""


class Singles:
    """Each draft goes on by its only proposal, on its own: the likeliest token, or a drawn one."""

    def __init__(self, drafts: list[Draft]) -> None:
        self.drafts = drafts
        self.all = list(drafts)

    def step(self, proposals: Sequence[Sequence[Proposal]]) -> None:
        """A draft to which no token is allowed ends as it is."""
        going = []
        for draft, ((score, token),) in zip(self.drafts, proposals, strict=True):
            over = score == -inf or draft.ends(token)
            if score > -inf and token not in draft.request.ends:
                draft.written.append(token)
                if draft.log_probabilities is not None:
                    draft.log_probabilities.append(score)
                over = over or (draft.request.stopped is not None and draft.request.stopped(draft.ids))
            if not over:
                going.append(draft)
        self.drafts = going

    def prediction(self) -> Prediction:
        """The answers in the order in which they were asked for."""
        found = prediction([draft.ids for draft in self.all])
        given = [draft.log_probabilities for draft in self.all if draft.log_probabilities is not None]
        if given:
            found.values["log_probabilities"] = np.concatenate([np.array(each, np.float64) for each in given])
        return found


def prediction(answers: Sequence[Array], scores: Sequence[float] | None = None) -> Prediction:
    """One or more answers, best first, as `generate` describes them."""
    values = {"ids": answers[0]}
    if scores is not None:
        values["score"] = np.array(scores, np.float64)
    if len(answers) > 1:
        values["answers"] = np.concatenate(answers)
        values["lengths"] = np.array([len(answer) for answer in answers], np.int64)
    return Prediction(values)


def settle(drafts: Sequence[Draft], slots: Sequence[int]) -> list[tuple[int, int]]:
    """Give each draft a slot of its own among `slots`; returns the copies that it takes, (from, to).

    No slot is both read and written, so the order of the copies does not matter.
    """
    named = {draft.slot for draft in drafts}
    free = [slot for slot in slots if slot not in named]
    copies = []
    for draft in drafts:
        if draft.slot in named:
            named.remove(draft.slot)
        else:
            copies.append((draft.slot, free.pop()))
            draft.slot = copies[-1][1]
    return copies
