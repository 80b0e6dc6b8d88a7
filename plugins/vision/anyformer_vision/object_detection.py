"""`vision/object-detection`: an image to boxes around the objects in it, each with a label and a score.

* Set prediction: a fixed number of queries, each a box or nothing, taught by the best assignment. No anchors, no list of
  candidates to thin out (Carion et al. 2020, https://arxiv.org/abs/2005.12872).
* The trunk decides the model. An encoder and a decoder that attends to it read a residual network's map: DETR. An encoder
  alone reads patches and detection tokens: YOLOS (Fang et al. 2021, https://arxiv.org/abs/2106.00666).
* Images keep their proportions and their sizes; nothing is padded.
* Crowd boxes are not learned: they are no example of their label.
* A new residual network knows nothing, and its batch norms are frozen: DETR wants a checkpoint to start from. The default,
  an encoder alone, learns from scratch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from anyformer.task import Array, Frozen, Metric, Prediction, Record, Rng, Sample, Task
from anyformer_vision.box_statistics import BoxStatistics
from anyformer_vision.boxes import Boxes, Detections, Found, Photo, clip, corners, to_center, to_corners
from anyformer_vision.detection_examples import rectangles
from anyformer_vision.resize import mirror

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anyformer.nn import Embedding, Head
    from anyformer.nn.config import Trunk

DRAWN = 0.5
"""Least score of a box in a picture: an answer holds all boxes, however unsure, as scores of precision want them."""


class ObjectDetection(Task[Photo, Boxes, Detections]):
    """An image to boxes with labels and scores."""

    class Config(Frozen):
        """Fixed by training."""

        num_queries: int = Field(default=100, ge=1)
        """Most objects that can be found in an image: object queries (DETR) or detection tokens (YOLOS)."""
        class_layers: int = Field(default=1, ge=1)
        """Linear layers from a query to its class: 1 in DETR, 3 in YOLOS."""
        patch: int = Field(default=16, ge=1)
        """Of an encoder alone: side of a square patch, in pixels. It must divide the tokenizer's `multiple`."""
        grid: tuple[int, int] = (32, 32)
        """Of an encoder alone: rows and columns of patches that the learned positions are made for; they are resampled for
        the grid of an image."""
        between: bool = False
        """Of an encoder alone: learned positions after every block but the last, too."""
        backbone: Literal["resnet10t", "resnet18", "resnet26", "resnet34", "resnet50", "resnet101"] = "resnet50"
        """With a decoder: the residual network that makes the encoder's map."""
        dilation: bool = False
        """With a decoder: a map 16 and not 32 times smaller than the image (DC5)."""
        teach_every_block: bool = False
        """The loss of every block that answers, not only of the last: DETR learns sooner with it."""
        flip: bool = True
        """Mirror every second training image. Set to false where left and right differ: letters, signs."""
        jitter: float = Field(default=0.0, ge=0, lt=1)
        """Shrink training images by up to this part of their sides."""

    class Options(Frozen):
        """Of one call."""

        threshold: float = Field(default=0.0, ge=0, le=1)
        """Least score of a box. Scores of precision and recall want them all; 0.5 is a usual choice for people."""
        top: int = Field(default=100, ge=1)
        """Most boxes, the surest first."""

    Input = Photo
    Target = Boxes
    Output = Detections
    tokenizers = {"image": "anyformer_vision.detection_tokenizer:Pixels"}
    trunk = "encoder"
    default_trunk = {
        "encoder": {
            "width": 128,
            "depth": 6,
            "attention": {"heads": 4},
            "position": {"kind": "none"},
        }
    }
    default_training = {
        "steps": 10000,
        "records": 16,
        "tokens": 1_000_000,
        "optimizer": {"name": "adamw", "lr": 5e-4, "weight_decay": 1e-4},
        "schedule": {"name": "cosine", "warmup": 500},
        "clip": 0.1,
    }

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Red and blue rectangles on noise, eight small images of several sizes, each with none to three of them."""
        return rectangles(8, np.random.default_rng(0))

    def fit(self, records: Sequence[Record[Photo, Boxes]]) -> dict[str, Any]:
        """The labels in order, and what the baseline needs of each.

        State: `labels` list of K names, `shares` float64 [K], the part of the images that have the label, `means` float64
        [K, 4], its mean box as centre x, centre y, width, height relative to the image.
        """
        statistics = BoxStatistics(len(records))
        for index, record in enumerate(records):
            statistics.add(index, record.input, record.target)
        return statistics.state()

    def encode(self, input: Photo, options: Any) -> list[Sample]:
        """One sample: parts `pixels` float32 [H * W, 3] and `size` int64 [1, 2]; note `size`, of the image as given."""
        tokenizer, pixels = self.tokens["image"], input.image.pixels("RGB")
        return [Sample(tokenizer.parts(tokenizer.resized(pixels)), notes={"size": pixels.shape[:2]})]

    def learn(self, record: Record[Photo, Boxes], rng: Rng) -> list[Sample]:
        """One sample of the image as `rng` changes it; targets `classes` int64 [n], `boxes` float32 [n, 4].

        Raises `ValueError` for a label that training did not see, and for more objects than there are queries.
        """
        config, tokenizer = self.config, self.tokens["image"]
        objects = [box for box in record.target.boxes if not box.crowd]
        if len(objects) > config.num_queries:
            raise ValueError(
                f"an image has {len(objects)} objects, and the model {config.num_queries} queries; set config.num_queries "
                "to the most objects of an image, or more"
            )
        pixels = record.input.image.pixels("RGB")
        height, width = pixels.shape[:2]
        edges = clip(corners(objects), height, width)
        if config.flip and rng.random() < 0.5:
            pixels, edges = mirror(pixels, edges)
        scale = 1.0 - config.jitter * rng.random()
        boxes = to_center(edges / np.array([width, height, width, height]))
        classes = np.array([self._index(box.label) for box in objects], np.int64)
        targets: dict[str, Array] = {"classes": classes, "boxes": boxes.astype(np.float32)}
        return [Sample(tokenizer.parts(tokenizer.resized(pixels, scale)), targets)]

    def embedding(self, trunk: Trunk) -> Embedding:
        """A residual network and object queries where there is a decoder, else patches and detection tokens.

        Raises `ValueError` for a trunk or a patch that cannot work.
        """
        from anyformer_vision.detr import DetrEmbedding, residual_network
        from anyformer_vision.yolos import YolosEmbedding

        config, encoder, decoder = self.config, trunk.encoder, trunk.decoder
        assert encoder is not None, "the trunk has an encoder"
        if decoder is None:
            multiple = self.tokens["image"].config.multiple
            if multiple % config.patch:
                raise ValueError(
                    f"config.patch is {config.patch}, and sides of images are multiples of {multiple}; set "
                    "tokenizers.image.multiple to a multiple of the patch"
                )
            num_between = encoder.depth - 1 if config.between else 0
            return YolosEmbedding(encoder.width, config.patch, config.num_queries, config.grid, num_between)
        if decoder.causal or not decoder.cross:
            raise ValueError(
                "a decoder of object queries is not causal and attends to the encoder; set trunk.decoder.causal to false "
                "and trunk.decoder.cross to true"
            )
        network, num_channels = residual_network(config.backbone, config.dilation)
        return DetrEmbedding(network, num_channels, encoder.width, decoder.width, config.num_queries)

    def head(self, trunk: Trunk) -> Head:
        """A class and a box from each query."""
        from anyformer_vision.detection_head import DetectionHead

        config, num_labels = self.config, len(self.state["labels"])
        stream = "source" if trunk.decoder is None else "target"
        return DetectionHead(
            trunk.output.width, num_labels, config.num_queries, stream, config.class_layers, config.teach_every_block
        )

    def decode(self, input: Photo, samples: list[Sample], predictions: list[Prediction], options: Any) -> Detections:
        """The most probable label of each query and its box, in pixels of the image as given."""
        values = predictions[0].values
        logits = values["logits"].astype(np.float64)
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = (exponents / exponents.sum(axis=1, keepdims=True))[:, :-1]
        scores, chosen = probabilities.max(axis=1), probabilities.argmax(axis=1)
        height, width = samples[0].notes["size"]
        edges = _pixels(values["boxes"].astype(np.float64), height, width)
        order = np.argsort(-scores, kind="stable")[: options.top]
        kept = [query for query in order.tolist() if scores[query] >= options.threshold]
        return self._answer([(int(chosen[query]), float(scores[query]), edges[query]) for query in kept])

    def metrics(self) -> list[Metric]:
        """Average precision and recall as COCO has them."""
        from anyformer_vision.average_precision import AveragePrecision

        return [AveragePrecision(self.state["labels"])]

    def baselines(self) -> dict[str, Callable[[Photo], Detections]]:
        """`mean_boxes` answers the mean box of each label, scored by how many images have the label; `nothing` no box.

        A model whose state comes from another's checkpoint knows no means: the boxes are then whole images, the scores 1.
        """
        num_labels = len(self.state["labels"])
        shares = np.asarray(self.state.get("shares", np.ones(num_labels)))
        means = np.asarray(self.state.get("means", np.tile([0.5, 0.5, 1.0, 1.0], (num_labels, 1))))

        def mean_boxes(input: Photo) -> Detections:
            edges = _pixels(means, *input.image.pixels("RGB").shape[:2])
            return self._answer([(index, float(shares[index]), edges[index]) for index in range(num_labels)])

        return {"mean_boxes": mean_boxes, "nothing": lambda input: Detections(boxes=[])}

    def draw(self, input: Photo, output: Detections, target: Boxes | None = None) -> Figure:
        """The image with the found boxes that score 0.5 or more, and the true ones."""
        from anyformer_vision.draw_boxes import draw_boxes

        sure = [found for found in output.boxes if found.score >= DRAWN]
        return draw_boxes(input.image.pixels("RGB"), sure, None if target is None else target.boxes)

    def _index(self, label: str) -> int:
        """Which of the labels it is; raises `ValueError` for one that training did not see."""
        labels = self.state["labels"]
        if label not in labels:
            from anyformer.hints import did_you_mean, listed

            raise ValueError(f"unknown label {label!r}{did_you_mean(label, labels)}; training saw: {listed(labels)}")
        return int(labels.index(label))

    def _answer(self, found: Sequence[tuple[int, float, Array]]) -> Detections:
        """Labels by index, scores and edges [4], as an answer."""
        labels: Sequence[str] = self.state["labels"]
        return Detections(
            boxes=[Found(label=labels[index], score=score, box=tuple(edges.tolist())) for index, score, edges in found]
        )


def _pixels(boxes: Array, height: int, width: int) -> Array:
    """Centre x, centre y, width, height relative to an image to x0, y0, x1, y1 in its pixels, within it; [N, 4]."""
    return clip(to_corners(boxes) * np.array([width, height, width, height]), height, width)
