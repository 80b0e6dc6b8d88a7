"""The head of set prediction: a class and a box from each query, and the loss of the best assignment.

Carion et al. 2020, https://arxiv.org/abs/2005.12872.

Axis legend: T tokens of the pack, B images, Q queries of an image, M chosen tokens, N objects, C classes, D width.

* It reads the last Q tokens of each sequence: all of them in a decoder of object queries (DETR), those behind the patches
  in an encoder (YOLOS).
* The last class is "no object". Most queries end there, so it weighs a tenth of the others.
* Boxes are not computed in bf16 under autocast: near 1 its steps are 4 pixels of an image of 1000.
* Where asked, every block is taught, not only the last: the same loss, each with an assignment of its own, by the same
  layers behind the same final norm, added up (section 3.2, "Auxiliary decoding losses").
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from anyformer.nn.layers import initialise
from anyformer.nn.model import Head
from anyformer.nn.pack import Parts, Stream, Streams
from anyformer.task import Prediction
from anyformer_vision.matching import DISTANCE_COST, OVERLAP_COST, corners, generalized_iou, match

NO_OBJECT_WEIGHT = 0.1


class Layers(nn.Module):
    """Linear layers with ReLU between them, all but the last as wide as the input."""

    def __init__(self, width: int, num_outputs: int, num_layers: int) -> None:
        super().__init__()
        widths = [width] * num_layers + [num_outputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        initialise(self)

    def forward(self, x: Float[Tensor, "M D"]) -> Tensor:
        """[M, D] to [M, outputs]."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class DetectionHead(Head):
    """Class logits and a box for each query. Targets: `classes` int64 [n] and `boxes` [n, 4] of each image, n from 0 to Q.

    A box is centre x, centre y, width, height, relative to the sides of the image, 0 to 1.
    """

    def __init__(
        self, width: int, num_labels: int, num_queries: int, stream: str, class_layers: int = 1, deep: bool = False
    ) -> None:
        super().__init__()
        self.deep = deep
        self.num_queries = num_queries
        self.stream = stream
        self.classes = Layers(width, num_labels + 1, class_layers)
        self.boxes = Layers(width, 4, 3)

    def forward(
        self, streams: Streams, at: Int[Tensor, "M"] | None = None
    ) -> tuple[Float[Tensor, "M C"], Float[Tensor, "M 4"]]:
        """Streams [T, D] to logits and boxes of all B * Q queries, or of the tokens `at` [M]."""
        stream = streams[self.stream]
        x_MD = stream.x_TD[self._queries(stream) if at is None else at]
        dtype = next(self.boxes.parameters()).dtype
        with torch.autocast(x_MD.device.type, enabled=False):
            boxes = self.boxes(x_MD.to(dtype)).sigmoid()
        return self.classes(x_MD), boxes

    def _queries(self, stream: Stream) -> Int[Tensor, "M"]:
        """The last Q tokens of each sequence."""
        before = torch.arange(self.num_queries, device=stream.x_TD.device) - self.num_queries + 1
        return (stream.pack.last_B[:, None] + before).flatten()

    def weigh(self, targets: Parts) -> dict[str, Tensor]:
        """The weight of all queries' classes, and the number of objects."""
        classes = targets["classes"]
        num_objects = len(classes.values)
        num_empty = classes.pack.num_sequences * self.num_queries - num_objects
        weights = {
            "classes": num_objects + NO_OBJECT_WEIGHT * num_empty, "distance": num_objects, "overlap": num_objects
        }  # fmt: skip
        device = classes.values.device
        return {name: torch.tensor(weight, dtype=torch.float64, device=device) for name, weight in weights.items()}

    def loss(self, streams: Streams, targets: Parts) -> dict[str, Tensor]:
        """Sums: weighted cross-entropy over queries; distance of edges and lack of overlap over objects, weighted."""
        stream = streams[self.stream]
        sums: dict[str, Tensor] = {}
        for x_TD in (stream.x_TD, *stream.earlier):
            for name, value in self._loss_of({self.stream: replace(stream, x_TD=x_TD)}, targets).items():
                sums[name] = sums[name] + value if name in sums else value
        return sums

    def _loss_of(self, streams: Streams, targets: Parts) -> dict[str, Tensor]:
        """The sums of one block's output."""
        logits, found = self(streams)
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits, found = logits.float(), found.float()
        counts = targets["classes"].pack.lengths
        classes, objects = targets["classes"].values, targets["boxes"].values.to(found.dtype)
        by_image = [values.unflatten(0, (len(counts), self.num_queries)) for values in (logits, found)]
        rows, columns = match(by_image[0], by_image[1], classes, objects, counts)
        num_labels = logits.shape[1] - 1
        labels = torch.full((len(logits),), num_labels, device=logits.device)
        labels[rows] = classes[columns]
        weights = logits.new_ones(num_labels + 1)
        weights[-1] = NO_OBJECT_WEIGHT
        found, objects = found[rows], objects[columns]
        return {
            "classes": F.cross_entropy(logits, labels, weights, reduction="sum"),
            "distance": DISTANCE_COST * (found - objects).abs().sum(),
            "overlap": OVERLAP_COST * (1 - generalized_iou(corners(found), corners(objects))).sum(),
        }

    def split(self, output: tuple[Tensor, Tensor], streams: Streams) -> list[Prediction]:
        """`logits` [Q, C] and `boxes` [Q, 4] of each image."""
        logits, boxes = (values.float().cpu().unflatten(0, (-1, self.num_queries)).numpy() for values in output)
        return [Prediction({"logits": one, "boxes": other}) for one, other in zip(logits, boxes, strict=True)]
