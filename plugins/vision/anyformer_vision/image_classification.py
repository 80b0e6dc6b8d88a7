"""`vision/image-classification`: an image to one of the labels seen in training, by a vision transformer.

* The transformer of Dosovitskiy et al. 2020, without a class token: the head averages over the patches (Beyer et al. 2022).
  Published checkpoints have class tokens; `class_tokens` and `pooling` say which, and what the head reads.
* The nearest class mean, over the pixels, is the baseline to beat; it knows nothing but average shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from anyformer.task import Array, Data, Frozen, Prediction, Sample
from anyformer_vision.labelled_images import Label, LabelledConfig, LabelledImages, Photo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Head
    from anyformer.nn.config import Trunk


class Classification(Data):
    """What is answered."""

    label: str
    """The most probable class."""
    score: float
    """Its probability."""
    scores: dict[str, float]
    """Probability of each class, the greatest first."""


class ImageClassification(LabelledImages[Classification]):
    """An image to one of the labels seen in training."""

    class Config(LabelledConfig):
        """Fixed by training."""

        pooling: Literal["mean", "first", "beside", "each"] = "mean"
        """What the head reads: the mean of all tokens, the first class token (ViT), that one beside the mean of the patches
        (DINOv2), or each class token with a layer of its own, averaged (distilled DeiT)."""

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

    Output = Classification
    demo = "anyformer_vision.demos:digits"

    def check_labelled(self, consequence: str) -> None:
        """It always has a layer for labels."""

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

    def baselines(self) -> dict[str, Callable[[Photo], Classification]]:
        """`majority` answers the most frequent label, `nearest_mean` the label whose mean image is closest.

        A model that was never trained here knows only its labels: `uniform` gives all of them one probability.
        """

        def answer(guess: Callable[[Photo], Array], input: Photo) -> Classification:
            return self._answer(guess(input), None)

        return {name: partial(answer, guess) for name, guess in self.guesses().items()}

    def draw(self, input: Photo, output: Classification, target: Label | None = None) -> Figure:
        """The image beside bars of the probabilities; the true label is marked."""
        from anyformer_vision.drawings import draw_labels

        return draw_labels(input.image.pixels(), output.scores, None if target is None else target.label)

    def _answer(self, probabilities: Array, top: int | None) -> Classification:
        """Labels by probability [K], the first `top` of them; equals in order of the labels."""
        order = np.argsort(-probabilities, kind="stable")[:top]
        scores = {self.state["labels"][index]: float(probabilities[index]) for index in order}
        label = next(iter(scores))
        return Classification(label=label, score=scores[label], scores=scores)
