"""Reader of Pascal VOC annotations: an XML file for each image (Everingham et al. 2010), in a folder or a zip.

* A data set has the folders `Annotations` and `JPEGImages`. A list of names, `ImageSets/Main/train.txt`, gives its
  rows alone.
* Edges are kept as written. VOC counts pixels from 1 and names the last one a box covers, so its left and top edges lie a
  pixel further than ours. Most detectors keep the numbers, and so do we: taking one off would change whoever compares.
* An object marked `difficult` is an object. The parts of a person are not objects.
* XML may define entities that unfold without end or read other files. A document type, the only place where that can be
  done, is refused.
* The image is the one that the XML names, or, where that is missing, the one called as the XML file.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from anyformer.data.files import Content
from anyformer.data.views import RowSequence
from anyformer.hints import did_you_mean, listed
from anyformer_vision.readers import SUFFIXES
from anyformer_vision.trees import Folder, Tree, Zip, inside, no_columns

ANNOTATIONS, IMAGES = "Annotations", "JPEGImages"
EDGES = ("xmin", "ymin", "xmax", "ymax")


def voc(path: Path, columns: Sequence[str] | None = None) -> RowSequence:
    """Rows `{"image": path or Image, "boxes": [{"label", "box"}, ..]}` of a VOC folder, a zip of one, or a list of names in
    one (`VOC2012/ImageSets/Main/train.txt`).

    Raises `ValueError` for what is none of these, or lists a name without annotations.
    """
    no_columns(path, columns)
    if path.suffix.lower() == ".txt":
        return _listed(path)
    return VocRows(Folder(path) if path.is_dir() else Zip(path))


def is_voc(tree: Tree) -> bool:
    """Whether the files are laid out as VOC lays them out."""
    return any(name.endswith(".xml") for name in tree.under(ANNOTATIONS))


class VocRows(RowSequence):
    """A row for each XML file, sorted by name, or for each of `names`."""

    def __init__(self, tree: Tree, names: Sequence[str] | None = None) -> None:
        self.tree = tree
        self.names = (
            [name for name in tree.under(ANNOTATIONS) if name.endswith(".xml")] if names is None else list(names)
        )
        if not self.names:
            raise ValueError(f"{str(tree.path)!r} is no VOC data set: it has no .xml in a folder {ANNOTATIONS!r}")

    def __len__(self) -> int:
        return len(self.names)

    def row(self, index: int) -> dict[str, Any]:
        """The image and its boxes."""
        name = self.names[index]
        where = f"{name!r} of {str(self.tree.path)!r}"
        root = parse(self.tree.read(name), where)
        return {"image": self.tree.image(self._image(name, root, where)), "boxes": _boxes(root, where)}

    def _image(self, name: str, root: Element, where: str) -> str:
        """The name of the image."""
        stem = f"{IMAGES}/{PurePosixPath(name).stem}"
        named = root.findtext("filename", "").strip()
        names = [f"{IMAGES}/{inside(named, where)}"] if named else []
        names += [stem + ending for suffix in SUFFIXES for ending in (suffix, suffix.upper())]
        found = next((image for image in names if self.tree.has(image)), None)
        if found is None:
            raise ValueError(f"{where}: there is no image {names[0]!r}, and none called {stem + '.jpg'!r} or alike")
        return found

    def feed(self, digest: Any) -> None:
        """The zip, or the rows of a folder."""
        if not self.tree.feed(digest):
            super().feed(digest)


def parse(content: bytes, where: str) -> Element:
    """The root of an XML text. Raises `ValueError`, beginning with `where`, for bad XML and for a document type."""
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = functools.partial(_refuse, where)
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise ValueError(f"{where} is no XML: {error}") from None
    return builder.close()


def _refuse(where: str, *doctype: Any) -> None:
    raise ValueError(f"{where} has a document type (<!DOCTYPE), which may read files or unfold without end; remove it")


def _boxes(root: Element, where: str) -> list[dict[str, Any]]:
    boxes = []
    for place, found in enumerate(root.findall("object"), 1):
        edges = [found.findtext(f"bndbox/{edge}", "") for edge in EDGES]
        try:
            box = [float(edge) for edge in edges]
        except ValueError:
            given = ", ".join(f"{name}={edge!r}" for name, edge in zip(EDGES, edges, strict=True))
            raise ValueError(f"{where}, object {place}: a bndbox with four numbers is needed; got {given}") from None
        boxes.append({"label": found.findtext("name", "").strip(), "box": box})
    return boxes


def _listed(path: Path) -> VocRows:
    """Rows of the names in a list, `ImageSets/Main/train.txt`: the first word of each line."""
    lines = Content(path).whole().decode("utf-8", "replace").splitlines()
    tree = Folder(path.absolute().parent.parent.parent)
    existing = {PurePosixPath(name).stem: name for name in tree.under(ANNOTATIONS) if name.endswith(".xml")}
    if not existing:
        raise ValueError(
            f"{str(path)!r} is no list of a VOC data set: {str(tree.path)!r} has no .xml in {ANNOTATIONS!r}"
        )
    names = [line.split()[0] for line in lines if line.strip()]
    for name in names:
        if name not in existing:
            near = did_you_mean(name, existing) or f"; there is {listed(sorted(existing), 4)}"
            raise ValueError(f"{str(path)!r} lists {name!r}, which has no {name}.xml in {ANNOTATIONS!r}{near}")
    return VocRows(tree, [existing[name] for name in names])
