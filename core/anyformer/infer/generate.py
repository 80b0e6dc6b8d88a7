"""Greedy decoding through a preallocated key-value cache.

Axis legend: B sequences still being written, V vocabulary.

* The encoder runs once, and its keys and values are projected once for each block.
* The vocabulary is projected at the last token only.
* A sequence that ends leaves the batch at once: its slot in the cache is not named any more. Nothing is padded or masked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from anyformer.data.packs import collate
from anyformer.infer.options import Generation
from anyformer.nn import Cache, Component, Memory, Model, Part, Parts
from anyformer.task import Prediction, Sample


def generate(
    model: Model, component: str, samples: Sequence[Sample], options: Generation, seeds: Sequence[int]
) -> Iterator[tuple[int, Prediction]]:
    """Continue the part `target` of each sample until its end token or its limit; yields `ids` as sequences finish.

    Notes of a sample: `end` is the id that ends it, `max_new_tokens` bounds it below the options' bound.
    """
    parts, _ = collate([Sample(sample.parts, {}) for sample in samples], next(model.parameters()).device)
    with torch.inference_mode():
        yield from _Decoding(model, component, samples, options, parts).run()


class _Decoding:
    """The state of one batch of sequences."""

    def __init__(
        self, model: Model, component: str, samples: Sequence[Sample], options: Generation, parts: Parts
    ) -> None:
        self.trunk = model.trunk
        self.component: Component = model[component]
        self.device = parts["target"].values.device
        self.prompt = parts["target"]
        self.ends = [int(sample.notes["end"]) for sample in samples]
        self.limits = [
            min(options.max_new_tokens, int(sample.notes.get("max_new_tokens", options.max_new_tokens)))
            for sample in samples
        ]
        room = max(length + limit for length, limit in zip(self.prompt.pack.lengths, self.limits, strict=True))
        self.cache = Cache(len(samples), room)
        self.memory_stream = None
        if self.trunk.encoder is not None and "source" in parts:
            source = self.component.embedding({"source": parts["source"]})
            self.memory_stream = self.trunk(source)["source"]

    def run(self) -> Iterator[tuple[int, Prediction]]:
        written: list[list[int]] = [[] for _ in self.ends]
        active = list(range(len(self.ends)))
        part = self.prompt
        while active:
            tokens = self._next(part, active)
            still = []
            for index, token in zip(active, tokens, strict=True):
                full = len(written[index]) >= self.limits[index]  # at once, where the limit is zero
                if token != self.ends[index] and not full:
                    written[index].append(token)
                if token == self.ends[index] or len(written[index]) >= self.limits[index]:
                    yield index, Prediction({"ids": np.array(written[index], np.int64)})
                else:
                    still.append(index)
            active = still
            self.cache.slots_B = torch.tensor(active, dtype=torch.int64)
            if active:
                part = Part(
                    torch.tensor([written[index][-1] for index in active], device=self.device),
                    self.cache.pack([1] * len(active), self.device),
                )

    def _next(self, part: Part, active: Sequence[int]) -> list[int]:
        """The most likely next token of each active sequence, after the tokens of `part`."""
        streams = self.component.embedding({"target": part}, self.cache)
        memory = None
        if self.memory_stream is not None:
            memory = Memory(self.memory_stream, torch.tensor(active, dtype=torch.int64))
        out = self.trunk(streams, self.cache, memory)
        logits_BV: Tensor = self.component.head(out, at=part.pack.last_B)
        return logits_BV.argmax(-1).tolist()
