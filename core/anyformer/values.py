"""The values that travel between data, tasks and models: configurations, samples, predictions, records.

This module imports no torch. Everything here is imported from `anyformer.task`.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler

Array = np.ndarray
Rng = np.random.Generator


class _Documented(BaseModel):
    """A model whose JSON schema describes each field by the string below it.

    Pydantic's `use_attribute_docstrings` reads the source of every class when it is made, which is a tenth of the time in
    which a model is ready to answer; here it is read when somebody asks for a schema.
    """

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found = handler(schema)
        properties = handler.resolve_ref_schema(found).get("properties", {})
        for name, words in _below_fields(cls).items():
            if name in properties:
                properties[name].setdefault("description", words)
        return found


def _below_fields(cls: type) -> dict[str, str]:
    """The strings below the fields of a class and of those it comes from; none where the source is not at hand."""
    words: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not issubclass(base, _Documented) or base is _Documented:
            continue
        try:
            (node,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        except (OSError, TypeError, SyntaxError, ValueError):
            continue
        for pair in itertools.pairwise(getattr(node, "body", [])):
            match pair:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    words[name] = inspect.cleandoc(text)
    return words


class Frozen(_Documented):
    """Base of every configuration: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(_Documented):
    """Base of every `Input`, `Target` and `Output`: numbers must be finite, so that JSON can carry them."""

    model_config = ConfigDict(allow_inf_nan=False, arbitrary_types_allowed=False)


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
