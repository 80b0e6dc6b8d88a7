"""Decoding through a key-value cache: greedy, by beams, or by sampling.

Axis legend: B drafts still being written, V vocabulary.

* The encoder runs once, and its keys and values are projected once for each block; all drafts of a sample read the same.
* The prompt is read once for each sample, however many beams or answers follow it; what all prompts of a pass begin with is
  read once for all.
* The vocabulary is projected at the last token only.
* A sample that ends leaves the batch at once, and one that waits takes its place in the cache (Yu et al. 2022, Orca). Where
  none waits, the last place moves up, so that the places in use stay neighbours, and one call attends for all.
* Beams are not moved about: a beam that goes on in one way keeps its slot, and only the others of its continuations copy it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from anyformer.data.packs import collate
from anyformer.infer.beam import Beams, num_continuations
from anyformer.infer.choose import propose
from anyformer.infer.draft import Draft, Proposal, Request, Search, Singles, prediction, settle
from anyformer.infer.options import Generation
from anyformer.infer.prepare.choice import spare_memory
from anyformer.nn import Cache, Component, Memory, Model, Part, Parts
from anyformer.nn.attention import Attention
from anyformer.task import Array, Prediction, Sample

ROOM = 32
"""Rows of a slot at first, beyond the longest prompt; the cache doubles when they are used up."""
SHARED = 64
"""Tokens that must be saved for the common beginning of several prompts to be read on its own."""


def generate(
    model: Model, component: str, samples: Sequence[Sample], options: Generation, seeds: Sequence[int]
) -> Iterator[tuple[int, Prediction]]:
    """Continue the part `target` of each sample until an end or a limit; yields predictions as samples finish.

    Notes of a sample, all optional: `end`, the id or ids that end an answer; `max_new_tokens`, a bound below that of the
    options; `forced`, a mapping from a step (0 is the first, -1 the last that the bound allows) to the id that must come
    then; `suppressed`, ids never chosen; `stopped`, a function that says of the ids [n] so far whether the answer is over
    (beams do not ask it). A forced id goes before every other rule.

    A prediction has `ids`, int64 [n]: the best answer, without its end. With beams it has `score`, float64 [A]: the score of
    each answer. With A > 1 answers it has them all, best first: `answers`, int64 [sum of lengths], laid end to end, and
    `lengths`, int64 [A]; `anyformer.infer.options.answers` splits them. Where they are asked for, `log_probabilities` is
    float64, one of each id of all answers.

    Sampling reads the seed of each sample and nothing else, so an answer does not depend on who shares the batch.
    """
    return _decode(model, component, samples, options, seeds, pieces=False)


def follow(
    model: Model, component: str, samples: Sequence[Sample], options: Generation, seeds: Sequence[int]
) -> Iterator[tuple[int, Prediction]]:
    """As `generate`, and after each step what is written so far of each sample, as predictions that are not final.

    Raises `ValueError` for beams, whose beginnings change until the end.
    """
    if options.num_beams > 1:
        raise ValueError(
            f"num_beams={options.num_beams} cannot be shown as it writes, for the best beam may change; set num_beams=1"
        )
    return _decode(model, component, samples, options, seeds, pieces=True)


def _decode(
    model: Model, component: str, samples: Sequence[Sample], options: Generation, seeds: Sequence[int], pieces: bool
) -> Iterator[tuple[int, Prediction]]:
    requests = [Request.of(sample, options) for sample in samples]
    for index, request in enumerate(requests):
        if request.limit < 1:
            scores = [0.0] * options.num_answers if options.num_beams > 1 else None
            yield index, prediction([np.empty(0, np.int64)] * options.num_answers, scores)
    asked = [index for index, request in enumerate(requests) if request.limit >= 1]
    if not asked:
        return
    chosen = [Sample(samples[index].parts) for index in asked]
    decoding = _Decoding(model, component, chosen, [requests[index] for index in asked], options)
    for place, found in decoding.run([seeds[index] for index in asked], pieces):
        yield asked[place], found


class _Decoding:
    """The state of one batch: a search for each sample that has a place, and the cache that they share."""

    def __init__(
        self, model: Model, component: str, samples: Sequence[Sample], requests: Sequence[Request], options: Generation
    ) -> None:
        self.trunk = model.trunk
        self.component: Component = model[component]
        self.samples = samples
        self.requests = requests
        self.options = options
        self.device = next(model.parameters()).device
        self.width = max(options.num_beams, options.num_answers)
        """Slots of a place."""
        self.num = num_continuations(options.num_beams, max(len(request.ends) for request in requests))
        self.room = max(len(request.prompt) + request.limit for request in requests)
        self.num_places = min(len(samples), options.at_once or self._num_places())
        longest = max(len(request.prompt) for request in requests)
        self.cache = Cache(self.num_places * self.width, min(self.room, longest + ROOM), share=self.width)
        self.waiting = deque(range(len(samples)))
        self.searches: dict[int, tuple[int, Search]] = {}
        """By place: the index of the sample, and its search."""

    def _num_places(self) -> int:
        """Places whose slots fit the memory that may be spared, one at least."""
        layers = [layer for layer in self.trunk.decoder.modules() if isinstance(layer, Attention)]  # type: ignore[union-attr]
        numbers = 2 * sum(layer.output.in_features for layer in layers) * self.room * self.width
        spare = torch.cuda.mem_get_info(self.device)[0] // 2 if self.device.type == "cuda" else spare_memory()
        return max(1, spare // (4 * numbers))

    def run(self, seeds: Sequence[int], pieces: bool) -> Iterator[tuple[int, Prediction]]:
        """Predictions by sample, as they end; with `pieces`, also what is written so far of those that go on."""
        while self.waiting or self.searches:
            joined = self._join(seeds)
            if joined:
                yield from self._step(joined, self._read_prompts(joined), pieces)
            else:
                self._close_up()
                yield from self._step(sorted(self.searches), self._read_last(), pieces)

    @torch.inference_mode()
    def _join(self, seeds: Sequence[int]) -> list[int]:
        """Give those that wait the places that are free; returns these places."""
        free = [place for place in range(self.num_places) if place not in self.searches][: len(self.waiting)]
        for place in free:
            index = self.waiting.popleft()
            self.searches[place] = index, self._search(index, place * self.width, seeds[index])
        self.cache.free([place * self.width + number for place in free for number in range(self.width)])
        return free

    def _search(self, index: int, slot: int, seed: int) -> Search:
        request = self.requests[index]
        if self.options.num_beams > 1:
            return Beams(Draft(request, slot), self.options)
        if not self.options.sample:
            return Singles([self._single(request, slot)])
        rngs = [np.random.default_rng([seed, number]) for number in range(self.options.num_answers)]
        return Singles([self._single(request, slot, rng) for rng in rngs])

    def _single(self, request: Request, slot: int, rng: np.random.Generator | None = None) -> Draft:
        return Draft(request, slot, rng=rng, log_probabilities=[] if self.options.log_probabilities else None)

    @torch.inference_mode()
    def _close_up(self) -> None:
        """Move the last places into those that are empty."""
        holes = [place for place in range(len(self.searches)) if place not in self.searches]
        for hole, place in zip(holes, [place for place in self.searches if place >= len(self.searches)], strict=True):
            self.cache.move(place, hole)
            self.searches[hole] = self.searches.pop(place)
            for draft in self.searches[hole][1].drafts:
                draft.slot += (hole - place) * self.width

    @torch.inference_mode()
    def _read_prompts(self, places: Sequence[int]) -> Tensor:
        """The logits [B, V] after the prompt of each draft in these places; the first slot of a place then holds it."""
        self.cache.slots_B = torch.tensor(places) * self.width
        samples = [self.samples[self.searches[place][0]] for place in places]
        shared = _num_shared([sample.parts for sample in samples])
        if shared:
            samples = self._read_shared(samples, shared)
        parts, _ = collate(samples, self.device)
        if shared:
            parts["target"] = Part(parts["target"].values, self.cache.pack(parts["target"].pack.lengths, self.device))
        logits_BV = self._read(parts, None)
        # All answers of a sample that are drawn start where its prompt ends.
        return logits_BV.repeat_interleave(self.options.num_answers, 0) if self.options.sample else logits_BV

    def _read_shared(self, samples: Sequence[Sample], shared: int) -> list[Sample]:
        """Read the first tokens of all prompts once, for all of their slots; returns samples of the others."""
        slots_B = self.cache.slots_B
        self.cache.slots_B = slots_B[:1]
        parts, _ = collate([Sample({"target": samples[0].parts["target"][:shared]})], self.device)
        self.trunk(self.component.embedding(parts, self.cache), self.cache)
        first, *others = slots_B.tolist()
        self.cache.copy([(first, slot) for slot in others])
        self.cache.slots_B = slots_B
        return [Sample({"target": sample.parts["target"][shared:]}) for sample in samples]

    @torch.inference_mode()
    def _read_last(self) -> Tensor:
        """The logits [B, V] after the last token of each draft, in the order of their slots."""
        drafts = self._drafts(self.searches)
        self.cache.slots_B = torch.tensor([draft.slot for draft in drafts], dtype=torch.int64)
        longest = int(self.cache.used_N[self.cache.slots_B].max()) + 1
        if longest > self.cache.length:
            self.cache.grow(min(2 * longest, self.room))
        tokens_B = torch.tensor([draft.written[-1] for draft in drafts], device=self.device)
        return self._read({"target": Part(tokens_B, self.cache.pack([1] * len(drafts), self.device))}, Memory())

    def _read(self, parts: Parts, memory: Memory | None) -> Tensor:
        """The logits [B, V] after the last token of each sequence of the part `target`."""
        out = self.trunk(self.component.embedding(parts, self.cache), self.cache, memory)
        logits_BV: Tensor = self.component.head(out, at=parts["target"].pack.last_B)
        return logits_BV

    def _drafts(self, places: Iterable[int]) -> list[Draft]:
        """The drafts of places, in the order of their slots."""
        return sorted(
            (draft for place in places for draft in self.searches[place][1].drafts), key=lambda each: each.slot
        )

    @torch.inference_mode()
    def _propose(self, drafts: Sequence[Draft], logits_BV: Tensor) -> dict[int, list[Proposal]]:
        return dict(zip(map(id, drafts), propose(logits_BV, drafts, self.options, self.num), strict=True))

    def _step(self, places: Sequence[int], logits_BV: Tensor, pieces: bool) -> Iterator[tuple[int, Prediction]]:
        """Every draft of these places goes on by one token, in a slot of its own; yields what ends, or is written so far."""
        proposals = self._propose(self._drafts(places), logits_BV)
        copies: list[tuple[int, int]] = []
        ended = []
        for place in places:
            index, search = self.searches[place]
            search.step([proposals[id(draft)] for draft in search.drafts])
            copies += settle(search.drafts, range(place * self.width, (place + 1) * self.width))
            if not search.drafts:
                ended.append((index, self.searches.pop(place)[1].prediction()))
            elif pieces and isinstance(search, Singles):
                ended.append((index, replace(search.prediction(), final=False)))
        with torch.inference_mode():
            self.cache.copy(copies)
        yield from ended


def _num_shared(parts: Sequence[Mapping[str, Array]]) -> int:
    """Tokens that all prompts begin with, if reading them once pays; of each, one token or more remains."""
    if len(parts) < 2 or any(list(each) != ["target"] for each in parts):
        return 0
    prompts = [each["target"] for each in parts]
    least = min(map(len, prompts)) - 1
    if least < 1:
        return 0
    same = np.all([prompt[:least] == prompts[0][:least] for prompt in prompts], axis=0)
    shared = least if same.all() else int(same.argmin())
    return shared if shared * (len(parts) - 1) >= SHARED else 0
