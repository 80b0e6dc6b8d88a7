"""Decoding through a key-value cache: greedy, by beams, or by sampling.

Axis legend: B drafts still being written, V vocabulary.

* The encoder runs once, and its keys and values are projected once for each block; all drafts of a sample read the same.
* The prompt is read once for each sample, however many beams or answers follow it.
* The vocabulary is projected at the last token only.
* A draft that ends leaves the batch at once: its slot in the cache is not named any more. Nothing is padded or masked.
* Beams are not moved about: a beam that goes on in one way keeps its slot, and only the others of its continuations copy it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from anyformer.data.packs import collate
from anyformer.infer.beam import Beams, num_continuations
from anyformer.infer.choose import propose
from anyformer.infer.draft import Draft, Request, Search, Singles, prediction
from anyformer.infer.options import Generation
from anyformer.nn import Cache, Component, Memory, Model, Part, Parts
from anyformer.task import Prediction, Sample

ROOM = 32
"""Rows of a slot at first, beyond the longest prompt; the cache doubles when they are used up."""


def generate(
    model: Model, component: str, samples: Sequence[Sample], options: Generation, seeds: Sequence[int]
) -> Iterator[tuple[int, Prediction]]:
    """Continue the part `target` of each sample until an end or a limit; yields predictions as samples finish.

    Notes of a sample, all optional: `end`, the id or ids that end an answer; `max_new_tokens`, a bound below that of the
    options; `forced`, a mapping from a step (0 is the first, -1 the last that the bound allows) to the id that must come
    then; `suppressed`, ids never chosen. A forced id goes before every other rule.

    A prediction has `ids`, int64 [n]: the best answer, without its end. With beams it has `score`, float64 [A]: the score of
    each answer. With A > 1 answers it has them all, best first: `answers`, int64 [sum of lengths], laid end to end, and
    `lengths`, int64 [A]; `anyformer.infer.options.answers` splits them.

    Sampling reads the seed of each sample and nothing else, so an answer does not depend on who shares the batch.
    """
    requests = [Request.of(sample, options) for sample in samples]
    for index, request in enumerate(requests):
        if request.limit < 1:
            scores = [0.0] * options.num_answers if options.num_beams > 1 else None
            yield index, prediction([np.empty(0, np.int64)] * options.num_answers, scores)
    asked = [index for index, request in enumerate(requests) if request.limit >= 1]
    if not asked:
        return
    parts, _ = collate([Sample(samples[index].parts) for index in asked], next(model.parameters()).device)
    decoding = _Decoding(model, component, parts, [requests[index] for index in asked], options)
    for place, found in decoding.run([seeds[index] for index in asked]):
        yield asked[place], found


class _Decoding:
    """The state of one batch: a search for each sample, and the cache that they share."""

    def __init__(
        self, model: Model, component: str, parts: Parts, requests: Sequence[Request], options: Generation
    ) -> None:
        self.trunk = model.trunk
        self.component: Component = model[component]
        self.parts = parts
        self.requests = requests
        self.options = options
        self.device = parts["target"].values.device
        self.width = max(options.num_beams, options.num_answers)
        """Slots of a sample."""
        self.num = num_continuations(options.num_beams, max(len(request.ends) for request in requests))
        lengths = parts["target"].pack.lengths
        self.room = max(length + request.limit for length, request in zip(lengths, requests, strict=True))
        self.cache = Cache(len(requests) * self.width, min(self.room, max(lengths) + ROOM))

    def run(self, seeds: Sequence[int]) -> Iterator[tuple[int, Prediction]]:
        logits_BV = self._read_prompts()
        searches = dict(enumerate(map(self._search, range(len(self.requests)), seeds)))
        if self.options.sample:  # all answers of a sample start where its prompt ends
            logits_BV = logits_BV.repeat_interleave(self.options.num_answers, 0)
        while True:
            self._step(searches, logits_BV)
            for index in [index for index, search in searches.items() if not search.drafts]:
                yield index, searches.pop(index).prediction()
            if not searches:
                return
            logits_BV = self._read_last(searches)

    def _search(self, index: int, seed: int) -> Search:
        request, slot = self.requests[index], index * self.width
        if self.options.num_beams > 1:
            return Beams(Draft(request, slot), self.options)
        if not self.options.sample:
            return Singles([Draft(request, slot)])
        rngs = [np.random.default_rng([seed, number]) for number in range(self.options.num_answers)]
        return Singles([Draft(request, slot, rng=rng) for rng in rngs])

    @torch.inference_mode()
    def _read_prompts(self) -> Tensor:
        """The logits [B, V] after each prompt, which the first slot of its sample then holds."""
        self.memory = None
        prompts = {name: part for name, part in self.parts.items() if name.startswith("target")}
        others = {name: part for name, part in self.parts.items() if name not in prompts}
        if self.trunk.encoder is not None and "source" in others:
            self.memory = self.trunk(self.component.embedding(others))["source"]
        self.cache.slots_B = torch.arange(len(self.requests)) * self.width
        return self._read(prompts)

    @torch.inference_mode()
    def _read_last(self, searches: dict[int, Search]) -> Tensor:
        """The logits [B, V] after the last token of each draft."""
        drafts = [draft for search in searches.values() for draft in search.drafts]
        self.cache.slots_B = torch.tensor([draft.slot for draft in drafts], dtype=torch.int64)
        longest = int(self.cache.used_N[self.cache.slots_B].max()) + 1
        if longest > self.cache.length:
            self.cache.grow(min(2 * longest, self.room))
        tokens_B = torch.tensor([draft.written[-1] for draft in drafts], device=self.device)
        return self._read({"target": Part(tokens_B, self.cache.pack([1] * len(drafts), self.device))})

    def _read(self, parts: Parts) -> Tensor:
        """The logits [B, V] after the last token of each sequence of the part `target`."""
        memory = None if self.memory is None else Memory(self.memory, self.cache.slots_B // self.width)
        out = self.trunk(self.component.embedding(parts, self.cache), self.cache, memory)
        logits_BV: Tensor = self.component.head(out, at=parts["target"].pack.last_B)
        return logits_BV

    @torch.inference_mode()
    def _step(self, searches: dict[int, Search], logits_BV: Tensor) -> None:
        """Every draft goes on by one token, in a slot of its own."""
        drafts = [draft for search in searches.values() for draft in search.drafts]
        proposals = iter(propose(logits_BV, drafts, self.options, self.num))
        copies: list[tuple[int, int]] = []
        for index, search in searches.items():
            search.step([next(proposals) for _ in search.drafts])
            copies += settle(search.drafts, range(index * self.width, (index + 1) * self.width))
        self.cache.copy(copies)


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
