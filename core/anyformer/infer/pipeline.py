"""Pipelines: a task made callable. One path for one item and for a million.

* Inputs are encoded as they come, gathered into packs by a budget of tokens, and answered in order; nothing is held beyond
  a pack, so an iterable may be larger than memory.
* An answer does not depend on who shares the pack.
* `tokens` shows the answer to one input as it is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from anyformer.hints import did_you_mean, quoted
from anyformer.memory import Trimmer, keep_pages
from anyformer.nn import Model
from anyformer.task import Prediction, Sample, Task, explain, resolve, validate

TOKENS = 16384
"""Tokens in a pack, unless a single input has more."""
ITEMS = 256
"""Inputs in a pack at most, so that answers keep coming."""


@dataclass
class _Asked:
    """An input on its way to its answer."""

    where: str
    """What errors call it."""
    input: Any
    samples: list[Sample] = field(default_factory=list)
    error: ValueError | None = None


@dataclass(frozen=True)
class Piece:
    """An answer on its way."""

    output: Any
    """What is written so far, as an Output; nothing of its text will change."""
    added: str
    """What its first field of text has more than that of the piece before: never half a character."""
    final: bool
    """Whether it is the whole answer, as a call would give it."""


class Pipeline:
    """A task with a model that answers it."""

    def __init__(self, model: Model, component: str) -> None:
        task = model[component].task
        if not isinstance(task, Task):
            raise ValueError(f"{component!r} is a pretraining objective; fine-tune it for a task first")
        self.model = model.eval()
        self.component = component
        self.task: Task[Any, Any, Any] = task
        self._solve = resolve(task.solver)
        self._trimmer = Trimmer()
        if next(model.parameters()).device.type == "cpu":
            keep_pages()

    def __call__(self, inputs: Any = None, /, **given: Any) -> Any:
        """The answer to one input, or a list of answers to a list of them.

        Args:
            inputs: the fields of one Input as a mapping, an Input, or a list (any iterable) of either.
            given: fields of one Input instead, and fields of Options.

        Raises `ValueError` for a bad input, naming the field, what was given and what is possible.
        """
        options = {name: given.pop(name) for name in list(given) if name in self.task.Options.model_fields}
        if inputs is None:
            self._refuse_unknown(given, "field", self.task.Input.model_fields)
            return next(self.stream([given], **options))
        self._refuse_unknown(given, "option", ())
        if isinstance(inputs, Mapping | BaseModel):
            return next(self.stream([inputs], **options))
        if isinstance(inputs, str | bytes) or not isinstance(inputs, Iterable):
            raise ValueError(self._no_input(inputs))
        return list(self.stream(inputs, **options))

    def stream(
        self, inputs: Iterable[Any], errors: Literal["raise", "return"] = "raise", tokens: int = TOKENS, **options: Any
    ) -> Iterator[Any]:
        """Answers in order, as packs of at most `tokens` tokens are done.

        An input is a mapping, an Input, or a JSON object as text. With `errors="return"`, a bad input gives its `ValueError`
        in place of an answer and the others go on.
        """
        chosen = self.options(**options)
        waiting: list[_Asked] = []
        cost = 0
        for index, raw in enumerate(inputs):
            asked = self._ask(raw, index, chosen)
            if asked.error is not None and errors == "raise":
                yield from self._answers([*waiting, asked], chosen, errors)
            size = sum(sample.cost for sample in asked.samples)
            if waiting and (cost + size > tokens or len(waiting) >= ITEMS):
                yield from self._answers(waiting, chosen, errors)
                waiting, cost = [], 0
            waiting.append(asked)
            cost += size
        yield from self._answers(waiting, chosen, errors)

    def tokens(self, inputs: Any = None, /, **given: Any) -> Iterator[Piece]:
        """The answer to one input, piece by piece, as tokens are written; the last piece is final.

        Takes one input and options as a call does. An iterator that is not read to its end computes no further.

        Raises `ValueError` where a call would, for a task that writes no tokens, and for beams, whose best may change.
        """
        from anyformer.infer.generate import follow, generate

        if self._solve is not generate:
            raise ValueError(f"{self.component} answers at once, not token by token; ask for the whole answer")
        options = self.options(
            **{name: given.pop(name) for name in list(given) if name in self.task.Options.model_fields}
        )
        if inputs is None:
            self._refuse_unknown(given, "field", self.task.Input.model_fields)
        else:
            self._refuse_unknown(given, "option", ())
        asked = self._ask(given if inputs is None else inputs, 0, options)
        if asked.error is not None:
            raise asked.error
        if len(asked.samples) != 1:
            raise ValueError(
                f"{self.component} puts an answer together from {len(asked.samples)} parts; ask for the whole answer"
            )
        shown = ""
        found = follow(self.model, self.component, asked.samples, options, [_seed(asked, 0, options)])
        for _, prediction in found:
            output = self._answer(asked, [prediction], options)
            if isinstance(output, ValueError):
                raise output
            text = _text(output)
            if prediction.final or text != shown:
                yield Piece(output, text.removeprefix(shown), prediction.final)
                shown = text

    def options(self, **given: Any) -> Any:
        """The options of a call, validated."""
        try:
            return self.task.Options(**given)
        except ValidationError as error:
            known = ", ".join(self.task.Options.model_fields) or "none"
            raise ValueError(f"options of {self.component}: {explain(error)}; the options are: {known}") from None

    def _refuse_unknown(self, given: Iterable[str], what: str, fields: Iterable[str]) -> None:
        """Raise `ValueError` for a name that is neither a field nor an option."""
        fields, known = list(fields), list(self.task.Options.model_fields)
        for name in given:
            if name not in fields:
                possible = [f"an input of {self.component} has: {', '.join(fields)}"] if fields else []
                possible.append(f"the options of {self.component} are: {', '.join(known) or 'none'}")
                near = did_you_mean(name, [*fields, *known])
                raise ValueError(f"unknown {what} {name!r}{near}; {'; '.join(possible)}")

    def _no_input(self, given: Any) -> str:
        fields = ", ".join(self.task.Input.model_fields)
        return f"an input of {self.component} is a mapping with: {fields}; got {quoted(given)}"

    def _ask(self, raw: Any, index: int, options: Any) -> _Asked:
        where = f"input {index + 1}"
        try:
            input = self._read(raw, where)
            with _named(where):
                return _Asked(where, input, self.task.encode(input, options))
        except ValueError as error:
            return _Asked(where, raw, error=error)

    def _read(self, raw: Any, where: str) -> BaseModel:
        """The Input that a mapping, a model or a JSON text gives; JSON, unlike a mapping, never names a file."""
        if isinstance(raw, Mapping | BaseModel):
            return validate(self.task.Input, raw, where)
        if not isinstance(raw, str | bytes):
            raise ValueError(f"{where}: {self._no_input(raw)}")
        try:
            return self.task.Input.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            if not first["loc"] and first["type"] in ("json_invalid", "model_type"):
                shown = raw if isinstance(raw, str) else raw.decode("utf-8", "backslashreplace")
                raise ValueError(f"{where}: {self._no_input(shown)}") from None
            given = first["input"] if isinstance(first["input"], dict) else ()
            raise ValueError(f"{where}: {explain(error, given)}") from None

    def _answers(self, waiting: list[_Asked], options: Any, errors: str) -> Iterator[Any]:
        samples = [sample for asked in waiting for sample in asked.samples]
        seeds = [_seed(asked, number, options) for asked in waiting for number in range(len(asked.samples))]
        try:
            found = dict(self._solve(self.model, self.component, samples, options, seeds)) if samples else {}
        except ValueError as error:
            if len(waiting) > 1:  # one of them cannot be answered; which one, shows when each is alone
                for asked in waiting:
                    yield from self._answers([asked], options, errors)
                return
            waiting = [_Asked(waiting[0].where, None, error=ValueError(f"{waiting[0].where}: {error}"))]
            found = {}
        self._trimmer()
        first = 0
        for asked in waiting:
            last = first + len(asked.samples)
            answer = self._answer(asked, [found[index] for index in range(first, last)], options)
            if isinstance(answer, ValueError) and errors == "raise":
                raise answer
            yield answer
            first = last

    def _answer(self, asked: _Asked, predictions: list[Prediction], options: Any) -> Any:
        if asked.error is not None:
            return asked.error
        try:
            with _named(asked.where):
                return self.task.decode(asked.input, asked.samples, predictions, options)
        except ValueError as error:
            return error


def _text(output: BaseModel) -> str:
    """The first field of an Output that is text; none: the empty text."""
    return next((value for value in dict(output).values() if isinstance(value, str)), "")


def _seed(asked: _Asked, number: int, options: Any) -> int:
    """The seed of one sample: of the options' seed and the input alone, so that an answer does not depend on the batch."""
    if not hasattr(options, "seed"):
        return 0  # nothing is drawn
    text = f"{options.seed} {number} {asked.input.model_dump_json()}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Says in front of an error which input it is about."""
    try:
        yield
    except ValidationError as error:
        raise ValueError(f"{where}: {explain(error)}") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
