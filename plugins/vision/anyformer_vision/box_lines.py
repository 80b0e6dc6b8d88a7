"""Reader of boxes in JSON lines: a file `annotations.jsonl` beside a folder of images, in a folder or a zip.

A line is `{"file": "images/1.jpg", "objects": [{"label": "dog", "bbox": [x0, y0, x1, y1]}, ..]}`: edges in pixels,
other fields left alone. An object may say `crowd` and `area`. Rows are in the order of the lines.
"""

from __future__ import annotations

import json
from typing import Any

from anyformer.data.views import RowSequence
from anyformer.hints import quoted
from anyformer_vision.trees import Tree, inside

ANNOTATIONS = "annotations.jsonl"
OPTIONAL = ("crowd", "area")


def is_lines(tree: Tree) -> bool:
    """Whether the files are laid out so."""
    return tree.has(ANNOTATIONS)


class LineRows(RowSequence):
    """Rows `{"image": path or Image, "boxes": [{"label", "box"}, ..]}`.

    Raises `ValueError` for lines that are no such objects, and for an image that is not there.
    """

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.lines = [line for line in tree.read(ANNOTATIONS).split(b"\n") if line.strip()]

    def __len__(self) -> int:
        return len(self.lines)

    def row(self, index: int) -> dict[str, Any]:
        """The image and its boxes."""
        where = f"record {index + 1} of {ANNOTATIONS!r} of {str(self.tree.path)!r}"
        try:
            line = json.loads(self.lines[index])
            boxes = [
                {"label": found["label"], "box": found["bbox"]}
                | {name: found[name] for name in OPTIONAL if name in found}
                for found in line["objects"]
            ]
            name = line["file"]
        except (ValueError, KeyError, TypeError, RecursionError):
            needed = '{"file": .., "objects": [{"label": .., "bbox": [x0, y0, x1, y1]}]}'
            raise ValueError(f"{where}: {needed} is needed; got {quoted(self.lines[index])}") from None
        name = inside(name, where)
        if not self.tree.has(name):
            raise ValueError(f"{where}: there is no image {name!r}")
        return {"image": self.tree.image(name), "boxes": boxes}

    def feed(self, digest: Any) -> None:
        """The zip, or the rows of a folder."""
        if not self.tree.feed(digest):
            super().feed(digest)
