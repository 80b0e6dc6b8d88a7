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
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from anyformer.specs import TaskSpec, TokenizerSpec

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from anyformer.nn import Embedding, Head
    from anyformer.nn.config import Trunk

__all__ = [
    "Array", "Data", "Demo", "Frozen", "Metric", "Objective", "Prediction", "Record", "Rng", "Rows", "Sample", "Task",
    "TaskSpec", "Tokenizer", "TokenizerSpec", "explain", "resolve", "validate",
]  # fmt: skip

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


class Tokenizer:
    """Turns raw data into model inputs, ids or continuous patches, and back. Pure CPU, saved with the model.

    A tokenizer of ids sets `vocabulary_size`; one of continuous patches sets `patch_width` instead.
    """

    Config: type[Frozen] = Frozen
    """What a user may set, e.g. the size of the vocabulary."""
    vocabulary_size: int = 0
    """Number of ids; 0 for continuous patches."""
    patch_width: int = 0
    """Number of values in a patch; 0 for ids."""
    mask_id: int | None = None
    """The id that hides a token in masked-token pretraining; None if the tokenizer has none."""
    end_id: int | None = None
    """The id that ends a sequence."""
    start_id: int | None = None
    """The id that a decoder begins with; None: the end id, as BART has it."""
    sentinel_ids: tuple[int, ...] = ()
    """Ids that stand for hidden spans, in the order of their use (T5)."""
    patch_overlap: int = 0
    """Values that a patch shares with the next one, from which a hidden patch could be read."""
    registered_id: str | None = None
    """The id under which a plugin registers it, where it was chosen by id rather than by its task."""
    special_ids: frozenset[int] = frozenset()
    """Ids that stand for no data (start, end, mask): never masked, never chosen as a random replacement."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def fit(self, corpus: Iterable[Any], rng: Rng) -> None:
        """Learn from raw items of the training part. A tokenizer that has nothing to learn leaves this as it is."""

    def encode(self, raw: Any) -> dict[str, Array]:
        """Raw data to parts. An ids tokenizer returns `{"ids": int64 [L]}`, a patch tokenizer `{"patches": float32 [L, P]}`.

        Raises `ValueError` for raw data it cannot read, saying what was given and what is possible.
        """
        raise NotImplementedError

    def decode(self, ids: Array, final: bool = True) -> Any:
        """Ids back to raw data. `final=False`: more will follow, so an incomplete trailing unit is held back."""
        raise NotImplementedError

    def continues(self, ids: Array) -> Array:
        """Which of `ids` [L] go on the unit (the word) of the id before them, bool [L]: by default every id is a unit."""
        return np.zeros(len(ids), dtype=bool)

    def closes(self, ids: Array) -> Array:
        """Which of `ids` [L] end a segment (a sentence), bool [L]: by default none does."""
        return np.zeros(len(ids), dtype=bool)

    def save(self, folder: Path) -> None:
        """Write what `fit` learned, as JSON or safetensors, into an existing folder. The caller saves `config`."""

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""

    @classmethod
    def read(cls, folder: Path, config: Mapping[str, Any]) -> Tokenizer:
        """The tokenizer of a checkpoint folder of another library, whose `config.json` is `config`.

        Raises `ValueError` if its files are damaged. Only a tokenizer that a family names has this.
        """
        raise NotImplementedError

    def write(self, folder: Path) -> bool:
        """Write the files that the other library reads into `folder`; False where it has none that could be read there."""
        return False


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
    """Settings of `anyformer.train.config.Training` that suit this task from scratch."""
    solver: ClassVar[str] = "anyformer.infer.solvers:one_pass"
    """Lazy reference to the function from samples to predictions."""
    demo: ClassVar[str | None] = None
    """Lazy reference to a function `() -> Demo`."""
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
        return Record(validate(self.input, row, where), validate(self.target, row, where))

    def __iter__(self) -> Iterator[Record[Any, Any]]:
        return (self[index] for index in range(len(self)))


def validate(model: type[InputT], row: Mapping[str, Any] | BaseModel, where: str) -> InputT:
    """The fields of `model` taken from a row; columns it does not know are left alone.

    Raises `ValueError` with one line for a person: where, which field, what was given, what exists.
    """
    if isinstance(row, model):
        return row
    if isinstance(row, BaseModel):
        row = row.model_dump()
    fields = {name: row[name] for name in model.model_fields if name in row}
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise ValueError(f"{where}: {explain(error, list(row))}") from None


def explain(error: ValidationError, given: Iterable[str] = ()) -> str:
    """A validation error in one line: the field, what was wrong, what was given."""
    first = error.errors(include_url=False)[0]
    name = ".".join(str(step) for step in first["loc"]) or "value"
    if first["type"] == "missing":
        return f"{name!r} is missing; given: {', '.join(map(repr, given)) or 'nothing'}"
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
