"""The contracts a plugin fills: `Task`, `Objective`, `Tokenizer`, `Metric`, and the values that travel between them.

A task says what a user can ask for: its typed input and output, how a record becomes samples, how predictions become
an answer, and how well a trivial method does. Everything else (training, resume, batching, evaluation, the shell) is
derived from this page.

* This module imports no torch, and neither may a task's module: `Input` and `Options` become flags of the shell, and
  listing tasks must be instant. Name tokenizers and solvers by lazy reference (`"package.module:Name"`), and import
  heads, metrics and drawing inside the methods that use them.
* A task is *bound*: made with its config, its tokenizers and its state, it holds no other state.
* `encode` never sees a target. `learn` alone does.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal

from pydantic import BaseModel, ValidationError

from anyformer.specs import TaskSpec, TokenizerSpec
from anyformer.tokenizer import Tokenizer
from anyformer.values import (
    Array,
    Data,
    Frozen,
    InputT,
    OutputT,
    Prediction,
    Record,
    Rng,
    Sample,
    TargetT,
)  # fmt: skip

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Embedding, Head
    from anyformer.nn.config import Trunk

__all__ = [
    "Array", "Data", "Demo", "Frozen", "Metric", "Objective", "Prediction", "Record", "Rng", "Rows", "Sample", "Task",
    "TaskSpec", "Tokenizer", "TokenizerSpec", "explain", "resolve", "validate",
]  # fmt: skip


class Metric:
    """One measure, streaming: a row of numbers for each record, and a score of any set of rows.

    Keeping rows of a few numbers (at most 64 bytes a record over all metrics of a task) makes memory flat, and lets the
    interval be bootstrapped by drawing rows again. A row usually holds sums, so that a score is a ratio of column sums.
    """

    names: ClassVar[tuple[str, ...]]
    """Names of the scores, the primary one first."""
    higher_is_better: bool = True
    """Whether the primary score grows as the model gets better."""
    dtype: str = "float64"
    """Of the stored rows; "float32" halves the memory where the numbers are small counts."""

    def row(self, output: Any, target: Any) -> Sequence[float]:
        """The numbers kept of one record: its Output beside its Target. Always the same count of numbers."""
        raise NotImplementedError

    def scores(self, rows: Array) -> dict[str, float]:
        """Scores of rows [N, k], by the names in `names`."""
        raise NotImplementedError


@dataclass(frozen=True)
class Demo:
    """What `anyformer demo` trains: real data that needs no download, and the settings that learn it in half a minute."""

    data: str
    """What the data is and where it comes from, in a few words."""
    train: Sequence[Mapping[str, Any]]
    """Raw rows, as a reader would give them."""
    valid: Sequence[Mapping[str, Any]]
    """Raw rows held out."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Overrides of the run, nested or dotted: `{"training.steps": 300, "trunk.encoder.width": 64}`."""


class Task(Generic[InputT, TargetT, OutputT]):
    """One thing a user can ask for. Fill `Input`, `Target`, `Output`, `encode`, `learn`, `decode`, `baselines`, `metrics`,
    `head` and `examples`; take the rest as it is.
    """

    Config: type[Frozen] = Frozen
    """Fixed by training: labels, pooling, horizon."""
    Input: type[BaseModel]
    Target: type[BaseModel]
    Output: type[BaseModel]
    Options: type[Frozen] = Frozen
    """Of one call: beam size, threshold, seed."""

    tokenizers: ClassVar[dict[str, str]] = {}
    """Name to lazy reference, e.g. `{"text": "anyformer_weather.tokenizers:Codes"}`."""
    trunk: ClassVar[Literal["encoder", "decoder", "both"]] = "encoder"
    """Which half of the Transformer it needs."""
    default_trunk: ClassVar[Mapping[str, Any]] = {}
    """A small trunk that learns something on a laptop, as nested fields of `anyformer.nn.config.Trunk`."""
    default_training: ClassVar[Mapping[str, Any]] = {}
    """Settings of `anyformer.train.settings.Training` that suit this task from scratch."""
    default_tuning: ClassVar[Mapping[str, Any]] = {}
    """Settings that suit a start from a trained model, above the defaults and below the user's: `{"training.epochs": 3}`."""
    solver: ClassVar[str] = "anyformer.infer.solvers:one_pass"
    """Lazy reference to the function from samples to predictions."""
    demo: ClassVar[str | None] = None
    """Lazy reference to a function `() -> Demo`."""
    embedded_by: ClassVar[tuple[str, ...]] = ()
    """Fields of `Config` that decide the embedding: a run takes them over with the model that it starts from."""
    temporal: ClassVar[bool] = False
    """True: records are in order of time; `evaluate` bootstraps in blocks, and the contract tests look for leaks."""

    def __init__(
        self, config: Any, tokenizers: Mapping[str, Tokenizer], state: Mapping[str, Any] | None = None
    ) -> None:
        self.config = config
        self.tokens: Mapping[str, Any] = tokenizers
        """The tokenizers by name, fitted."""
        self.state: dict[str, Any] = dict(state or {})
        """What `fit` returned."""

    # -- data

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """At least eight raw rows, small and varied in length: the contract tests and the docs run on them."""
        raise NotImplementedError

    def records(self, raw: Sequence[Mapping[str, Any]]) -> Sequence[Record[InputT, TargetT]]:
        """Raw rows to records, by random access and without reading ahead: by default a row is a record."""
        return Rows(raw, self.Input, self.Target)

    def corpus(self, name: str, records: Sequence[Record[InputT, TargetT]]) -> Iterable[Any]:
        """The raw items of the training part from which the tokenizer called `name` learns."""
        return ()

    def fit(self, records: Sequence[Record[InputT, TargetT]]) -> dict[str, Any]:
        """State learned from the training part alone (labels, scalers, what the baselines need): JSON values and arrays."""
        return {}

    # -- model

    def encode(self, input: InputT, options: Any) -> list[Sample]:
        """An input to one or many samples, without targets."""
        raise NotImplementedError

    def learn(self, record: Record[InputT, TargetT], rng: Rng) -> list[Sample]:
        """A record to samples with targets; `rng` is the record's own, for augmentation."""
        raise NotImplementedError

    def embedding(self, trunk: Trunk) -> Embedding:
        """The module from parts to streams; by default a table or a projection for the only tokenizer.

        The part called `source` feeds the encoder, the part called `target` the decoder.
        """
        from anyformer.nn.build import embedding_for

        return embedding_for(trunk, self.tokens)

    def head(self, trunk: Trunk) -> Head:
        """The module from the trunk's output to predictions and to sums of loss."""
        raise NotImplementedError

    def decode(self, input: InputT, samples: list[Sample], predictions: list[Prediction], options: Any) -> OutputT:
        """All predictions of one input to its answer."""
        raise NotImplementedError

    # -- honesty

    def metrics(self) -> list[Metric]:
        """The measures of the task, the deciding one first."""
        raise NotImplementedError

    def baselines(self) -> dict[str, Callable[[InputT], OutputT]]:
        """Trivial methods by name, never none: made from `state`, they answer an input as the model would."""
        raise NotImplementedError

    def draw(self, input: InputT, output: OutputT, target: TargetT | None = None) -> Figure:
        """A picture of one answer, with the truth in it where it is known."""
        raise NotImplementedError


class Objective:
    """Pretraining without labels: how a sample is made from raw parts alone, over any tokenizer."""

    Config: type[Frozen] = Frozen
    """Context length, masking rate."""
    trunk: ClassVar[Literal["encoder", "decoder", "both"]] = "decoder"
    default_trunk: ClassVar[Mapping[str, Any]] = {}
    default_training: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, config: Any, tokenizer: Tokenizer) -> None:
        self.config = config
        self.tokenizer = tokenizer

    def records(self, raw: Sequence[Any]) -> Sequence[dict[str, Array]]:
        """Raw items to the parts of each record, by random access."""
        raise NotImplementedError

    def learn(self, parts: dict[str, Array], rng: Rng) -> list[Sample]:
        """Parts to samples with targets."""
        raise NotImplementedError

    def embedding(self, trunk: Trunk) -> Embedding:
        """As `Task.embedding`."""
        raise NotImplementedError

    def head(self, trunk: Trunk) -> Head:
        """As `Task.head`."""
        raise NotImplementedError


class Rows(Sequence[Record[Any, Any]]):
    """Raw rows seen as records: each is validated when it is read, and an error names the row, the field and the columns."""

    def __init__(self, raw: Sequence[Mapping[str, Any]], input: type[BaseModel], target: type[BaseModel]) -> None:
        self.raw, self.input, self.target = raw, input, target

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Rows(self.raw[index], self.input, self.target)
        row = self.raw[index]
        where = f"row {index + 1}"
        return Record(validate(self.input, row, where, self.target), validate(self.target, row, where, self.input))

    def __iter__(self) -> Iterator[Record[Any, Any]]:
        return (self[index] for index in range(len(self)))


def validate(
    model: type[InputT], row: Mapping[str, Any] | BaseModel, where: str, beside: type[BaseModel] | None = None
) -> InputT:  # fmt: skip
    """The fields of `model` taken from a row; columns it does not know are left alone.

    Raises `ValueError` with one line for a person: where, which field, what was given, what exists. With `beside`, which is
    taken from the same row, a column that neither knows is told of as what a missing field may be called.
    """
    if isinstance(row, model):
        return row
    if isinstance(row, BaseModel):
        row = row.model_dump()
    fields = {name: row[name] for name in model.model_fields if name in row}
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        known = {**model.model_fields, **beside.model_fields} if beside is not None else row
        raise ValueError(f"{where}: {explain(error, list(row), [name for name in row if name not in known])}") from None


def explain(error: ValidationError, given: Iterable[str] = (), spare: Sequence[str] = ()) -> str:
    """A validation error in one line: the field, what was wrong, what was given."""
    first = error.errors(include_url=False)[0]
    name = ".".join(str(step) for step in first["loc"]) or "value"
    if first["type"] == "missing":
        hint = f"; if it has another name there, say so, as in --columns {name}={spare[0]}" if spare else ""
        return f"{name!r} is missing; given: {', '.join(map(repr, given)) or 'nothing'}{hint}"
    message = first["msg"].removeprefix("Value error, ")
    shown = repr(first["input"])
    return f"{name!r}: {message} (given: {shown[:80]}{'...' if len(shown) > 80 else ''})"


def resolve(reference: str) -> Any:
    """The object a lazy reference names: `"package.module:Name"`.

    Raises `ValueError` if the reference is malformed or names nothing; whatever the module raises at import passes.
    """
    module, _, name = reference.partition(":")
    if not module or not name:
        raise ValueError(f"{reference!r} is no reference; write it as 'package.module:Name'")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(f"{reference!r} does not resolve: no module named {error.name!r}") from error
    if not hasattr(found, name):
        raise ValueError(f"{reference!r} does not resolve: {module} has no {name!r}")
    return getattr(found, name)
