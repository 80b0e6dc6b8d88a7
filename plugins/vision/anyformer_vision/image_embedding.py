"""`vision/image-embedding`: an image to one vector, close to those of images that show the same.

* The vector is the first class token (ViT, DINOv2) or the mean of the patches; class tokens are never part of that mean.
* Training teaches a label, read from the vector by a linear layer, by cross-entropy. A model read from a checkpoint has no
  such layer (`Config.labelled` is false) and only embeds.
* Cosines or distances of vectors rank images; `Config.normalise` makes a dot product a cosine.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import model_validator

from anyformer.task import Array, Data, Prediction, Sample
from anyformer_vision.labelled_images import Label, LabelledConfig, LabelledImages, Photo
from anyformer_vision.thumbnails import thumbnail

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Head
    from anyformer.nn.config import Trunk

BASELINE_SIDE = 8
"""The baselines' vector is the image with no side longer than this."""


class Vector(Data):
    """What is answered."""

    vector: list[float]
    """As many numbers as the trunk is wide; of length 1 if the model normalises."""
    label: str | None = None
    """The most probable class; absent in a model that only embeds."""


class ImageEmbedding(LabelledImages[Vector]):
    """An image to one vector."""

    class Config(LabelledConfig):
        """Fixed by training."""

        pooling: Literal["first", "mean"] = "mean"
        """The vector is the first class token, or the mean of the patches without class tokens."""
        normalise: bool = False
        """Bring vectors to length 1, so that a dot product is a cosine."""
        labelled: bool = True
        """A layer reads a label from the vector; without it the model only embeds."""

        @model_validator(mode="after")
        def _possible(self) -> ImageEmbedding.Config:
            if self.pooling == "first" and not self.class_tokens:
                raise ValueError("pooling=first reads a class token; set class_tokens to 1, or pooling to mean")
            return self

    Output = Vector

    def check_labelled(self, consequence: str) -> None:
        """Raise `ValueError` in a model that only embeds."""
        if not self.config.labelled:
            raise ValueError(
                f"this model only embeds (config.labelled is false), so {consequence}; fine-tune "
                "vision/image-classification, or set config.labelled to true"
            )

    def head(self, trunk: Trunk) -> Head:
        """The pooled vector, and a label read from it."""
        from anyformer_vision.image_vector import ImageVector

        config = self.config
        num_labels = len(self.state["labels"]) if config.labelled else 0
        return ImageVector(
            trunk.output.width, config.pooling, config.class_tokens, num_labels, config.normalise, config.dropout,
            config.smoothing,
        )  # fmt: skip

    def decode(self, input: Photo, samples: list[Sample], predictions: list[Prediction], options: Any) -> Vector:
        """The vector, and the label of the greatest logit."""
        found = predictions[0].values
        label = self.state["labels"][int(found["logits"].argmax())] if "logits" in found else None
        return Vector(vector=found["vector"].tolist(), label=label)

    def baselines(self) -> dict[str, Callable[[Photo], Vector]]:
        """`majority` answers the most frequent label, `nearest_mean` the label whose mean image is closest; the vector of
        both is the image itself, reduced.

        A model that was never trained here has that vector alone, as `pixels`.
        """
        if not self.config.labelled:
            return {"pixels": lambda input: Vector(vector=self._reduced(input))}

        def answer(guess: Callable[[Photo], Array], input: Photo) -> Vector:
            return Vector(vector=self._reduced(input), label=self.state["labels"][int(guess(input).argmax())])

        return {name: partial(answer, guess) for name, guess in self.guesses().items()}

    def draw(self, input: Photo, output: Vector, target: Label | None = None) -> Figure:
        """The image beside the vector in bars; the title has the label, and the true one."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 3), layout="constrained")
        picture, axis = figure.subplots(1, 2, width_ratios=(1, 3))
        picture.imshow(thumbnail(input.image.pixels(), 512), interpolation="nearest")
        picture.set_axis_off()
        axis.bar(range(len(output.vector)), output.vector, width=1.0, color="#6fa8dc")
        axis.axhline(0, color="0.3", linewidth=0.6)
        axis.set_xlabel("coordinate of the vector")
        words = [] if output.label is None else [f"predicted {output.label}"]
        words += [] if target is None else [f"true {target.label}"]
        axis.set_title(", ".join(words).replace("$", r"\$"), fontsize=10)
        return figure

    def _reduced(self, input: Photo) -> list[float]:
        """The image in a few pixels, row by row, from 0 to 1."""
        small = thumbnail(self.tokens["image"].pixels(input.image), BASELINE_SIDE)
        return (small.astype(np.float64) / 255).ravel().tolist()
