"""Embedding, Head, Component and Model: what stands around the trunk.

Axis legend: T tokens of the pack, B sequences, D width.

A model is one trunk and its components; a component is an embedding and a head under a task's id. Domains differ in their
components, never in the trunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jaxtyping import Int
from torch import Tensor, nn

from anyformer.nn.pack import Parts, Streams

if TYPE_CHECKING:
    from anyformer.nn.attention import Watch
    from anyformer.nn.cache import Cache
    from anyformer.nn.trunk import Trunk
    from anyformer.task import Objective, Prediction, Task


class Embedding(nn.Module):
    """From parts to streams: `source` for the encoder, `target` for the decoder."""

    places_apart: bool = False
    """True where streams carry `position_TD`: queries and keys then read something else than values, and a model that only
    answers projects these apart."""

    def forward(self, parts: Parts, cache: Cache | None = None) -> Streams:
        """Parts [T, ...] by name to streams [T, D] by name."""
        raise NotImplementedError


class Head(nn.Module):
    """From the trunk's output to predictions, and to sums of loss.

    `loss` returns SUMS over the micro-pack and `weigh` returns what each sum is to be divided by, from targets alone; the
    engine adds the denominators over all micro-packs and ranks before the first backward, so that accumulation equals the
    big batch. Loss arithmetic (smoothing, class weights, weights of terms) lives here.
    """

    couples_samples: bool = False
    """True for a loss that compares samples of a micro-pack with one another; it gives up exact accumulation."""
    deep: bool = False
    """True for a loss that also reads `Stream.earlier`, what the blocks before the last put out."""

    def tie(self, embedding: Embedding) -> None:
        """Share weights with the embedding of the same component; called once, when the component is built."""

    def watch(self) -> Watch | None:
        """What is to see the attention maps of the pass that begins; called once before each. Most heads need none."""
        return None

    def forward(self, streams: Streams, at: Int[Tensor, "N"] | None = None) -> Any:
        """Streams [T, D] to the head's output; `at` [N] picks the only tokens of its stream that matter."""
        raise NotImplementedError

    def weigh(self, targets: Parts) -> dict[str, Tensor]:
        """Denominator of each term of the loss, scalars, from targets alone."""
        raise NotImplementedError

    def loss(self, streams: Streams, targets: Parts) -> dict[str, Tensor]:
        """Sum of each term of the loss over the micro-pack, scalars in fp32 or wider."""
        raise NotImplementedError

    def split(self, output: Any, streams: Streams) -> list[Prediction]:
        """The output as one prediction for each sequence, in order, on the CPU."""
        raise NotImplementedError


class Component(nn.Module):
    """An embedding and a head under a task's (or an objective's) id."""

    def __init__(self, task: Task[Any, Any, Any] | Objective, embedding: Embedding, head: Head) -> None:
        super().__init__()
        self.task = task
        self.embedding = embedding
        self.head = head
        head.tie(embedding)

    def forward(self, trunk: Trunk, parts: Parts, targets: Parts) -> dict[str, Tensor]:
        """Parts and targets [T, ...] to the sums of the loss by term, scalars, through a trunk."""
        streams = trunk(self.embedding(parts), watch=self.head.watch(), deep=self.head.deep)
        return self.head.loss(streams, targets)


class Model(nn.Module):
    """One trunk and its components, by id."""

    def __init__(self, trunk: Trunk, components: Mapping[str, Component]) -> None:
        super().__init__()
        self.trunk = trunk
        self.components = nn.ModuleDict(dict(components))

    def encode(self, parts: Parts, component: str) -> Streams:
        """Parts [T, ...] to the trunk's output streams [T, D], through the component's embedding."""
        return self.trunk(self[component].embedding(parts), watch=self[component].head.watch())

    def forward(self, parts: Parts, targets: Parts, component: str) -> dict[str, Tensor]:
        """Parts and targets [T, ...] to the sums of the loss by term, scalars: what a training step calls and compiles."""
        return self[component](self.trunk, parts, targets)

    def __getitem__(self, component: str) -> Component:
        found = self.components[component]
        assert isinstance(found, Component)
        return found
