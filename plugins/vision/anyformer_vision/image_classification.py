"""`vision/image-classification`: an image to one of the labels seen in training, by a vision transformer.

* The transformer of Dosovitskiy et al. 2020, without a class token: the head averages over the patches (Beyer et al. 2022).
  Published checkpoints have class tokens; `class_tokens` and `pooling` say which, and what the head reads.
* Every image is brought to one size, so all sequences have the same length and the trunk sees them as a view.
* Small data is memorised in minutes: training images are flipped and shifted, each by its own generator.
* The nearest class mean, over the pixels, is the baseline to beat; it knows nothing but average shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from anyformer.data.views import RowSequence
from anyformer.media import Image
from anyformer.task import Array, Data, Frozen, Metric, Prediction, Record, Rng, Sample, Task
from anyformer_vision.augment import Augmentation, augment
from anyformer_vision.thumbnails import ClassMeans, nearest, thumbnail

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Embedding, Head
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


class Classification(Data):
    """What is answered."""

    label: str
    """The most probable class."""
    score: float
    """Its probability."""
    scores: dict[str, float]
    """Probability of each class, the greatest first."""


class ImageClassification(Task[Photo, Label, Classification]):
    """An image to one of the labels seen in training."""

    class Config(Frozen):
        """Fixed by training."""

        augmentation: Augmentation = Augmentation()
        """How a training image is changed each time it is seen."""
        dropout: float = Field(default=0.0, ge=0, lt=1)
        """On the mean of the patches."""
        smoothing: float = Field(default=0.1, ge=0, lt=1)
        """Of the labels, in training (Szegedy et al. 2016)."""
        class_tokens: int = Field(default=0, ge=0, le=16)
        """Learned vectors before the patches; each takes a position."""
        pooling: Literal["mean", "first", "beside", "each"] = "mean"
        """What the head reads: the mean of all tokens, the first class token (ViT), that one beside the mean of the patches
        (DINOv2), or each class token with a layer of its own, averaged (distilled DeiT)."""
        grid: tuple[int, int] | None = None
        """Rows and columns of patches that learned positions are for; they are resampled where images have others. None:
        those of the images."""

        @model_validator(mode="after")
        def _possible(self) -> ImageClassification.Config:
            if self.pooling != "mean" and not self.class_tokens:
                raise ValueError(
                    f"pooling={self.pooling} reads a class token; set class_tokens to 1, or pooling to mean"
                )
            return self

    class Options(Frozen):
        """Of one call."""

        top: int | None = Field(default=None, ge=1)
        """How many labels `scores` has; None: all."""

    Input = Photo
    Target = Label
    Output = Classification
    tokenizers = {"image": "anyformer_vision.tokenizers:Patches"}
    trunk = "encoder"
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
    demo = "anyformer_vision.demos:digits"

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
        """One sample of the image as `rng` changes it; target `label`, int64 [1]."""
        tokenizer = self.tokens["image"]
        pixels = augment(tokenizer.pixels(record.input.image), self.config.augmentation, rng)
        label = np.array([self._index(record.target)], dtype=np.int64)
        return [Sample({"source": tokenizer.patches(pixels)}, {"label": label})]

    def embedding(self, trunk: Trunk) -> Embedding:
        """Patches through a linear map, class tokens before them, with positions."""
        from anyformer_vision.grid_positions import patch_embedding

        return patch_embedding(trunk, self.tokens, self.config.class_tokens, self.config.grid)

    def head(self, trunk: Trunk) -> Head:
        """A linear layer over what `pooling` says."""
        config, width, num_labels = self.config, trunk.output.width, len(self.state["labels"])
        if config.pooling in ("beside", "each"):
            from anyformer_vision.class_tokens import ClassTokens

            beside = config.pooling == "beside"
            return ClassTokens(width, num_labels, config.class_tokens, beside, config.dropout, config.smoothing)
        from anyformer.heads import Classifier

        return Classifier(width, num_labels, config.pooling, dropout=config.dropout, smoothing=config.smoothing)

    def decode(
        self, input: Photo, samples: list[Sample], predictions: list[Prediction], options: Any
    ) -> Classification:
        """The labels by probability."""
        logits = predictions[0].values["logits"].astype(np.float64)
        exponents = np.exp(logits - logits.max())
        return self._answer(exponents / exponents.sum(), options.top)

    def metrics(self) -> list[Metric]:
        """Accuracy, then the F1 of the labels, averaged."""
        from anyformer.metrics import Accuracy, MacroF1

        return [Accuracy(), MacroF1(self.state["labels"])]

    def baselines(self) -> dict[str, Callable[[Photo], Classification]]:
        """`majority` answers the most frequent label, `nearest_mean` the label whose mean image is closest.

        A model that was never trained here knows only its labels: `uniform` gives all of them one probability.
        """
        num_labels = len(self.state["labels"])
        if "counts" not in self.state:
            return {"uniform": lambda input: self._answer(np.full(num_labels, 1 / num_labels), None)}
        counts = np.asarray(self.state["counts"], np.float64)

        def majority(input: Photo) -> Classification:
            return self._answer(counts / counts.sum(), None)

        def nearest_mean(input: Photo) -> Classification:
            chosen = nearest(thumbnail(self.tokens["image"].pixels(input.image)), self.state["means"])
            return self._answer(np.eye(len(counts))[chosen], None)

        return {"majority": majority, "nearest_mean": nearest_mean}

    def draw(self, input: Photo, output: Classification, target: Label | None = None) -> Figure:
        """The image beside bars of the probabilities; the true label is marked."""
        from anyformer_vision.drawings import draw_labels

        return draw_labels(input.image.pixels(), output.scores, None if target is None else target.label)

    def _index(self, target: Label) -> int:
        """Which of the labels it is; raises `ValueError` for one that training did not see."""
        labels = self.state["labels"]
        if target.label not in labels:
            from anyformer.hints import did_you_mean, listed

            near = did_you_mean(target.label, labels)
            raise ValueError(f"unknown label {target.label!r}{near}; training saw: {listed(labels)}")
        return labels.index(target.label)

    def _answer(self, probabilities: Array, top: int | None) -> Classification:
        """Labels by probability [K], the first `top` of them; equals in order of the labels."""
        order = np.argsort(-probabilities, kind="stable")[:top]
        scores = {self.state["labels"][index]: float(probabilities[index]) for index in order}
        label = next(iter(scores))
        return Classification(label=label, score=scores[label], scores=scores)


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
