"""What a folder or a zip of images is, by what lies in it.

| it has                                          | is read as                        |
|-------------------------------------------------|-----------------------------------|
| `Annotations/*.xml`                             | Pascal VOC                        |
| `annotations.jsonl`                             | boxes in JSON lines               |
| one `*.coco.json`, or `annotations/*.json`      | COCO; of a folder, not of a zip   |
| anything else                                   | a folder of images for each class |
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anyformer.data.views import RowSequence
from anyformer.hints import listed
from anyformer_vision import box_lines, readers, voc
from anyformer_vision.coco import coco
from anyformer_vision.trees import Folder, Tree, Zip, no_columns


def folder(path: Path, columns: Sequence[str] | None = None) -> RowSequence:
    """Rows of a folder. Raises `ValueError` for one that is none of the above, or has several COCO files."""
    tree = Folder(path)
    rows = _boxes(tree, columns)
    if rows is not None:
        return rows
    found = [name for name in tree.under("") if name.lower().endswith(".coco.json")]
    found = found or [name for name in tree.under("annotations") if name.lower().endswith(".json")]
    if len(found) > 1:
        raise ValueError(
            f"{str(path)!r} has several COCO files; name one, so that it ends in .coco.json: {listed(found, 8)}"
        )
    return coco(path / found[0], columns) if found else readers.folder(path, columns)


def zipped(path: Path, columns: Sequence[str] | None = None) -> RowSequence:
    """Rows of a zip. Raises `ValueError` for one that is none of the above."""
    rows = _boxes(Zip(path), columns)
    return readers.zipped(path, columns) if rows is None else rows


def _boxes(tree: Tree, columns: Sequence[str] | None) -> RowSequence | None:
    """Rows of images with boxes, or None where the files are laid out otherwise."""
    kinds = {voc.is_voc: voc.VocRows, box_lines.is_lines: box_lines.LineRows}
    rows = next((rows for fits, rows in kinds.items() if fits(tree)), None)
    if rows is None:
        return None
    no_columns(tree.path, columns)
    return rows(tree)
