"""Boxes on images: the records of object detection, and the arithmetic of boxes.

* A box is x0, y0, x1, y1: left, top, right and bottom edge in pixels of the image as given, counted from its upper left
  corner. Edges are real numbers between pixels, so the width is x1 - x0 and a box of no width has no area.
* A crowd box covers many objects that nobody told apart. It is no example of its label: training leaves it out, and a
  detection inside it is neither right nor wrong.

Axis legend: N and M boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field, field_validator

from anyformer.media import Image
from anyformer.task import Array, Data


def _ordered(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    if right < left or bottom < top:
        raise ValueError(f"a box is x0, y0, x1, y1 with x0 <= x1 and y0 <= y1; got {', '.join(f'{x:g}' for x in box)}")
    return box


Edges = Annotated[tuple[float, float, float, float], AfterValidator(_ordered)]
"""x0, y0, x1, y1 in pixels, finite and in order."""


class Box(Data):
    """One object that is there."""

    label: str = Field(min_length=1)
    """What it is."""
    box: Edges
    """x0, y0, x1, y1 in pixels of the image."""
    crowd: bool = False
    """Whether it covers many objects that nobody told apart."""
    area: float | None = Field(default=None, ge=0)
    """Pixels of the object itself, where an outline is known; None: those of the box. Scores by size go by it."""


class Found(Data):
    """One object that was found."""

    label: str = Field(min_length=1)
    """What it is."""
    score: float
    """How sure the model is: the greater, the surer."""
    box: Edges
    """x0, y0, x1, y1 in pixels of the image."""


class Photo(Data):
    """What is asked."""

    image: Image
    """Of any size."""


class Boxes(Data):
    """The true answer."""

    boxes: list[Box]
    """In any order; an image may have none."""


class Detections(Data):
    """What is answered."""

    boxes: list[Found]
    """The surest first; equals as given."""

    @field_validator("boxes")
    @classmethod
    def _sorted(cls, boxes: list[Found]) -> list[Found]:
        return sorted(boxes, key=lambda found: -found.score)


def corners(boxes: Sequence[Box] | Sequence[Found]) -> Array:
    """The edges of records, float64 [N, 4] of x0, y0, x1, y1."""
    return np.array([found.box for found in boxes], np.float64).reshape(-1, 4)


def areas(boxes: Array) -> Array:
    """[N, 4] of x0, y0, x1, y1 to [N]."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def overlap(a: Array, b: Array) -> Array:
    """Area that boxes share: [N, 4] and [M, 4] of x0, y0, x1, y1 to [N, M]."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.clip(high - low, 0, None).prod(axis=-1)


def iou(a: Array, b: Array) -> Array:
    """Intersection over union: [N, 4] and [M, 4] of x0, y0, x1, y1 to [N, M]; 0 for two boxes without area."""
    shared = overlap(a, b)
    union = areas(a)[:, None] + areas(b)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(union, dtype=np.float64), where=union > 0)


def to_center(boxes: Array) -> Array:
    """x0, y0, x1, y1 to centre x, centre y, width, height; [..., 4]."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=-1)


def to_corners(boxes: Array) -> Array:
    """Centre x, centre y, width, height to x0, y0, x1, y1; [..., 4]."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=-1)


def clip(boxes: Array, height: int, width: int) -> Array:
    """x0, y0, x1, y1 [..., 4] cut at the edges of an image."""
    return np.clip(boxes, 0, np.array([width, height, width, height]))
