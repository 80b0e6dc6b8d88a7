"""The values that travel between data, tasks and models: configurations, samples, predictions, records.

This module imports no torch. Everything here is imported from `anyformer.task`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict

Array = np.ndarray
Rng = np.random.Generator


class Frozen(BaseModel):
    """Base of every configuration: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Data(BaseModel):
    """Base of every `Input`, `Target` and `Output`: numbers must be finite, so that JSON can carry them."""

    model_config = ConfigDict(allow_inf_nan=False, arbitrary_types_allowed=False, use_attribute_docstrings=True)


@dataclass
class Sample:
    """One item ready for a model. A record gives one or many; all of them return together to one `decode`."""

    parts: dict[str, Array]
    """The model's inputs by name; the first axis of each is its length. Ids are int64, continuous patches float32."""
    targets: dict[str, Array] = field(default_factory=dict)
    """What the head's loss compares with, by name; a scalar is an array of length 1."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Whatever `decode` or the solver needs and the model does not: offsets, sizes, scales, the end token."""
    tokens: int | None = None
    """Tokens that the model makes of it, where that is not the length of its parts: of an image's pixels."""

    @property
    def cost(self) -> int:
        """Tokens of all parts: what the token budget of a micro-pack counts. Segments go with the tokens they belong to."""
        if self.tokens is not None:
            return self.tokens
        return sum(len(part) for name, part in self.parts.items() if not name.endswith("_segments"))


@dataclass
class Prediction:
    """What the head says of one sample, on the CPU."""

    values: dict[str, Array]
    """By name, as the head's `split` returns them."""
    final: bool = True
    """False: a piece of a stream; more of the same sample follows."""


InputT = TypeVar("InputT", bound=BaseModel)
TargetT = TypeVar("TargetT", bound=BaseModel)
OutputT = TypeVar("OutputT", bound=BaseModel)


@dataclass(frozen=True)
class Record(Generic[InputT, TargetT]):
    """One line of data: what a user would ask, and the true answer."""

    input: InputT
    target: TargetT
