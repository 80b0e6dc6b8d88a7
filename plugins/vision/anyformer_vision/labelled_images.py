"""What the tasks that learn from labelled images share: their rows, their state, their samples, their embedding.

* Every image is brought to one size, so all sequences have the same length and the trunk sees them as a view.
* Small data is memorised in minutes: training images are flipped and shifted, each by its own generator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import numpy as np
from pydantic import BaseModel, BeforeValidator, Field

from anyformer.data.views import RowSequence
from anyformer.media import Image
from anyformer.task import Array, Data, Frozen, Metric, Record, Rng, Sample, Task
from anyformer_vision.augment import Augmentation, augment
from anyformer_vision.thumbnails import ClassMeans, nearest, thumbnail

if TYPE_CHECKING:
    from anyformer.nn import Embedding
    from anyformer.nn.config import Trunk

SINGULAR = {"images": "image", "labels": "label"}
"""Columns of arrays are often called by the plural; a row of them is one image and one label."""


def _digits(value: Any) -> Any:
    return str(value) if isinstance(value, int | np.integer) else value


class Photo(Data):
    """What is asked."""

    image: Image
    """Of any size; it is brought to the size that the model reads."""


class Label(Data):
    """The true answer."""

    label: Annotated[str, BeforeValidator(_digits)] = Field(min_length=1)
    """The class; a whole number is taken as its digits."""


class LabelledConfig(Frozen):
    """Fixed by training."""

    augmentation: Augmentation = Augmentation()
    """How a training image is changed each time it is seen."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On what the labels are read from."""
    smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Of the labels, in training (Szegedy et al. 2016)."""
    class_tokens: int = Field(default=0, ge=0, le=16)
    """Learned vectors before the patches; each takes a position."""
    grid: tuple[int, int] | None = None
    """Rows and columns of patches that learned positions are for; they are resampled where images have others. None:
    those of the images."""


AnswerT = TypeVar("AnswerT", bound=BaseModel)


class LabelledImages(Task[Photo, Label, AnswerT]):
    """A task whose records are an image and its label. Abstract: it has no head and no answer."""

    Config: type[LabelledConfig] = LabelledConfig
    Input = Photo
    Target = Label
    tokenizers = {"image": "anyformer_vision.tokenizers:Patches"}
    trunk = "encoder"
    embedded_by = ("class_tokens", "grid")
    default_trunk = {
        "encoder": {
            "width": 96,
            "depth": 4,
            "attention": {"heads": 4},
            "position": {"kind": "learned", "length": 256},
        }
    }
    default_training = {
        "steps": 3000,
        "records": 32,
        "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.05},
        "schedule": {"name": "cosine", "warmup": 100},
    }

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Lying or standing bars, eight grey images of 16 x 16 pixels, each in another place."""
        rows = []
        for place in range(4):
            lying = np.zeros((16, 16), np.uint8)
            lying[1 + 4 * place : 3 + 4 * place, 2:14] = 255 - 30 * place
            rows += [{"image": lying, "label": "lying"}, {"image": lying.T.copy(), "label": "standing"}]
        return rows

    def records(self, raw: Sequence[Mapping[str, Any]]) -> Sequence[Record[Photo, Label]]:
        """A row is a record; its columns may be called `images` and `labels`, as in many `.npz` files."""
        return super().records(_Singular(raw))

    def corpus(self, name: str, records: Sequence[Record[Photo, Label]]) -> Iterable[Image]:
        """The images."""
        return (record.input.image for record in records)

    def fit(self, records: Sequence[Record[Photo, Label]]) -> dict[str, Any]:
        """The labels in order, how often each occurs, and the mean image of each, with the tokenizer fitted before.

        State: `labels` list of K names, `counts` int64 [K], `means` float32 [K, h, w, C] in units of pixels, no side
        longer than 32.
        """
        means = ClassMeans()
        for record in records:
            means.add(record.target.label, thumbnail(self.tokens["image"].pixels(record.input.image)))
        if len(means.labels) < 2:
            found = f"only the label {means.labels[0]!r}" if means.labels else "no label"
            raise ValueError(f"the training data has {found}; a classifier needs two or more")
        return means.state()

    def encode(self, input: Photo, options: Any) -> list[Sample]:
        """One sample: part `source`, float32 [L, P]."""
        return [Sample({"source": self.tokens["image"].encode(input.image)["patches"]})]

    def learn(self, record: Record[Photo, Label], rng: Rng) -> list[Sample]:
        """One sample of the image as `rng` changes it; target `label`, int64 [1].

        Raises `ValueError` in a model that has no layer for labels, and for a label that training did not see.
        """
        self.check_labelled("there is nothing to train")
        tokenizer = self.tokens["image"]
        pixels = augment(tokenizer.pixels(record.input.image), self.config.augmentation, rng)
        label = np.array([self._index(record.target)], dtype=np.int64)
        return [Sample({"source": tokenizer.patches(pixels)}, {"label": label})]

    def check_labelled(self, consequence: str) -> None:
        """Raise `ValueError`, with what follows from it, if the model has no layer for labels."""
        raise NotImplementedError

    def embedding(self, trunk: Trunk) -> Embedding:
        """Patches through a linear map, class tokens before them, with positions."""
        from anyformer_vision.grid_positions import patch_embedding

        return patch_embedding(trunk, self.tokens, self.config.class_tokens, self.config.grid)

    def metrics(self) -> list[Metric]:
        """Accuracy, then the F1 of the labels, averaged. Raises `ValueError` in a model that has no layer for labels."""
        from anyformer.metrics import Accuracy, MacroF1

        self.check_labelled("there is no label to score")
        return [Accuracy(), MacroF1(self.state["labels"])]

    def guesses(self) -> dict[str, Callable[[Photo], Array]]:
        """Probabilities of the labels [K] as trivial methods see them: `majority`, and `nearest_mean`, which knows the mean
        image of each label. A model that was never trained here knows only its labels: `uniform`.
        """
        num_labels = len(self.state["labels"])
        if "counts" not in self.state:
            return {"uniform": lambda input: np.full(num_labels, 1 / num_labels)}
        counts = np.asarray(self.state["counts"], np.float64)

        def nearest_mean(input: Photo) -> Array:
            chosen = nearest(thumbnail(self.tokens["image"].pixels(input.image)), self.state["means"])
            return np.eye(num_labels)[chosen]

        return {"majority": lambda input: counts / counts.sum(), "nearest_mean": nearest_mean}

    def _index(self, target: Label) -> int:
        """Which of the labels it is; raises `ValueError` for one that training did not see."""
        labels = self.state["labels"]
        if target.label not in labels:
            from anyformer.hints import did_you_mean, listed

            near = did_you_mean(target.label, labels)
            raise ValueError(f"unknown label {target.label!r}{near}; training saw: {listed(labels)}")
        return labels.index(target.label)


class _Singular(RowSequence):
    """Rows whose columns are called by the singular, unless they have both."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, index: int) -> Mapping[str, Any]:
        """The row under its new names."""
        row = self.rows[index]
        return {name if (one := SINGULAR.get(name, name)) in row else one: value for name, value in row.items()}
