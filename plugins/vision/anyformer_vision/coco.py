"""Reader of COCO annotations: one JSON file with images, annotations and categories (Lin et al. 2014).

* Images are looked for beside the file, beside its folder, and in folders called `images` or as the file is
  (`instances_val2017.json`: `val2017`) in either place. The first of these that has the first image has to have all.
* COCO writes left, top, width, height; a row has x0, y0, x1, y1.
* Outlines are dropped while the file is parsed: they are most of it, and a box needs none. A crowd's is too.
* The labels are the categories' names. A file without annotations gives rows without boxes, which is enough to ask a model.
* Rows are in the order of the file. Boxes are kept as arrays and become records when a row is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyformer.data.files import Content
from anyformer.data.views import RowSequence
from anyformer.hints import listed, quoted
from anyformer_vision.trees import Folder, Tree, inside, no_columns


def coco(path: Path, columns: Sequence[str] | None = None) -> RowSequence:
    """Rows `{"image": path, "boxes": [{"label", "box", "crowd", "area"}, ..]}` of a COCO file; it may end in `.gz`.

    Raises `ValueError` for a file that is none, names an image that is not there, or leads out of its folder.
    """
    no_columns(path, columns)
    content = Content(path)
    parsed = _parsed(path, content.whole())
    names = _names(path, parsed["images"])
    tree = _images(path, names)
    annotations = None if parsed.get("annotations") is None else _Annotations(path, parsed)
    return _CocoRows(tree, names, annotations)


class _Annotations:
    """All boxes of the file as arrays, in order of their images."""

    def __init__(self, path: Path, parsed: Mapping[str, Any]) -> None:
        places = {image["id"]: place for place, image in enumerate(parsed["images"])}
        labels = _labels(path, parsed["categories"])
        self.labels = list(labels.values())
        numbers = {category: number for number, category in enumerate(labels)}
        rows = []
        for place, annotation in enumerate(parsed["annotations"], 1):
            try:
                image, label = places[annotation["image_id"]], numbers[annotation["category_id"]]
                left, top, width, height = map(float, annotation["bbox"])
                area = annotation.get("area")
                known = np.nan if area is None else float(area)
                crowd = bool(annotation.get("iscrowd", 0))
                rows.append((image, label, crowd, left, top, left + width, top + height, known))
            except (KeyError, TypeError, ValueError, AttributeError):
                raise _bad_annotation(path, place, annotation, places, labels) from None
        table = np.array(rows, np.float64).reshape(-1, 8)
        table = table[np.argsort(table[:, 0], kind="stable")]
        self.starts = np.searchsorted(table[:, 0], np.arange(len(places) + 1))
        self.label, self.crowd = table[:, 1].astype(int), table[:, 2] > 0
        self.box, self.area = table[:, 3:7], table[:, 7]

    def of(self, index: int) -> list[dict[str, Any]]:
        """The boxes of one image."""
        return [
            {
                "label": self.labels[self.label[place]],
                "box": self.box[place].tolist(),
                "crowd": bool(self.crowd[place]),
                "area": None if np.isnan(self.area[place]) else float(self.area[place]),
            }
            for place in range(self.starts[index], self.starts[index + 1])
        ]


class _CocoRows(RowSequence):
    def __init__(self, tree: Tree, names: Sequence[str], annotations: _Annotations | None) -> None:
        self.tree, self.names, self.annotations = tree, names, annotations

    def __len__(self) -> int:
        return len(self.names)

    def row(self, index: int) -> dict[str, Any]:
        """The image, and its boxes where the file has annotations."""
        row: dict[str, Any] = {"image": self.tree.image(self.names[index])}
        return row if self.annotations is None else row | {"boxes": self.annotations.of(index)}


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    """The file as JSON values without outlines, its outer shape checked."""
    try:
        parsed = json.loads(content.decode("utf-8-sig"), object_hook=_without_outline, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is no JSON: {' '.join(str(error).split())[:120]}") from None
    lists = ["images", "annotations", "categories"]
    if isinstance(parsed, dict) and parsed.get("annotations") is None:
        lists = lists[:1]
    if not isinstance(parsed, dict) or not all(isinstance(parsed.get(name), list) for name in lists):
        found = f"an object with {listed(list(parsed))}" if isinstance(parsed, dict) else quoted(parsed)
        raise ValueError(f"{str(path)!r}: a COCO file has lists of images, annotations and categories; got {found}")
    return parsed


def _without_outline(value: dict[str, Any]) -> dict[str, Any]:
    value.pop("segmentation", None)
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _names(path: Path, images: Sequence[Any]) -> list[str]:
    """The file name of each image; ids are checked as well."""
    names: list[str] = []
    seen: set[Any] = set()
    for place, image in enumerate(images, 1):
        where = f"{str(path)!r}, image {place}"
        if not isinstance(image, dict) or not isinstance(image.get("id"), int | str):
            raise ValueError(f"{where}: an object with an id and a file_name is needed; got {quoted(image)}")
        if image["id"] in seen:
            raise ValueError(f"{where}: the id {image['id']!r} is that of an earlier image; ids must differ")
        seen.add(image["id"])
        names.append(inside(image.get("file_name"), where))
    if not names:
        raise ValueError(f"{str(path)!r} lists no image")
    return names


def _labels(path: Path, categories: Sequence[Any]) -> dict[Any, str]:
    """The name of each category by its id."""
    labels: dict[Any, str] = {}
    for place, category in enumerate(categories, 1):
        where = f"{str(path)!r}, category {place}"
        if not isinstance(category, dict) or not isinstance(category.get("id"), int | str) or not category.get("name"):
            raise ValueError(f"{where}: an object with an id and a name is needed; got {quoted(category)}")
        if category["id"] in labels or category["name"] in labels.values():
            raise ValueError(
                f"{where}: {quoted(category)} has the id or the name of an earlier category; they must differ"
            )
        labels[category["id"]] = str(category["name"])
    return labels


def _images(path: Path, names: Sequence[str]) -> Tree:
    """The folder that has the images."""
    stem = path.name.split(".")[0].removeprefix("instances_").removeprefix("image_info_")
    near, above = path.parent, path.absolute().parent.parent
    places = [base / folder for base in (near, above) for folder in ("", "images", stem, f"images/{stem}")]
    chosen = next((Folder(place) for place in places if (place / names[0]).is_file()), None)
    if chosen is None:
        said = ", ".join(repr(str(place)) for place in places)
        raise ValueError(
            f"{str(path)!r}: there is no image {names[0]!r} in any of {said}; put the images into one of them"
        )
    lost = [name for name in names if not chosen.has(name)]
    if lost:
        raise ValueError(
            f"{str(path)!r}: {len(lost):,} of {len(names):,} images are not in {str(chosen.path)!r}: {listed(lost, 4)}"
        )
    return chosen


def _bad_annotation(
    path: Path, place: int, annotation: Any, images: Mapping[Any, int], labels: Mapping[Any, str]
) -> ValueError:
    """What is wrong with an annotation."""
    where = f"{str(path)!r}, annotation {place}"
    if not isinstance(annotation, dict):
        return ValueError(f"{where}: an object is needed; got {quoted(annotation)}")
    for name, known in (("image_id", images), ("category_id", labels)):
        value = annotation.get(name)
        if not isinstance(value, int | str) or value not in known:
            return ValueError(f"{where}: its {name} is {value!r}; the ids are {listed(list(map(str, known)), 8)}")
    bbox = annotation.get("bbox")
    return ValueError(f"{where}: bbox must be left, top, width, height, and area a number; got {quoted(bbox)}")
