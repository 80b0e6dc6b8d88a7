"""A manifest is checked before a file is opened or memory is taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from anyformer.train import checkpoint, manifest

HUGE = 2**60
HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "a file outside": (
        lambda page: page["files"].update({"../stolen": ""}),
        r"it names the file '\.\./stolen'; its files are called rank0\.safetensors, rank1\.safetensors, \.\.\.",
    ),
    "a file that is not there": (lambda page: page["files"].update({"rank7.safetensors": ""}), "lacks its file 'rank7"),
    "a piece in no file": (
        lambda page: piece(page).update(file="../rank0.safetensors"),
        "'x' lies in '../rank0.safetensors', which is no file of this checkpoint",
    ),
    "out of range": (lambda page: piece(page).update(slices=[[1, 5], [0, 3]]), r"piece \[1:5, 0:3\].* its shape \[4, 3\]"),
    "negative": (lambda page: piece(page).update(slices=[[-4, 0], [0, 3]]), "greater than or equal to 0 .given: -4"),
    "backwards": (lambda page: piece(page).update(slices=[[4, 0], [0, 3]]), r"piece \[4:0, 0:3\]"),
    "of fewer axes": (lambda page: piece(page).update(slices=[[0, 4]]), r"piece \[0:4\], which does not lie"),
    "missing values": (lambda page: piece(page).update(slices=[[0, 4], [0, 2]]), "lacks pieces: 8 of its 12 values"),
    "overlapping": (lambda page: more(page, [[2, 4], [0, 3]]), r"pieces that overlap: \[0:4, 0:3\] and \[2:4, 0:3\]"),
    "twice in a file": (
        lambda page: page["tensors"]["x"]["pieces"].append(piece(page)), "'x' has two pieces in one file",
    ),
    "huge": (lambda page: page["tensors"]["x"].update(shape=[HUGE, 3]), f"lacks pieces: 12 of its {3 * HUGE} values"),
    "huge and covered": (
        lambda page: page["tensors"]["x"].update(
            shape=[HUGE, 3], pieces=[{"slices": [[0, HUGE], [0, 3]], "file": "rank0.safetensors"}]
        ),
        r"'x' with shape \[4, 3\] and torch\.float32; the manifest says \[1152921504606846976, 3\]",
    ),
    "huger than any": (lambda page: page["tensors"]["x"].update(shape=[HUGE, HUGE, 0], pieces=[]), "too big for any tensor"),
    "no number": (lambda page: page["tensors"]["x"].update(shape=["4", 3]), "'tensors.x.shape.0': .*valid integer"),
    "of another dtype": (lambda page: page["tensors"]["x"].update(dtype="torch.int64"), "torch.float32; the manifest says"),
    "of no dtype": (lambda page: page["tensors"]["x"].update(dtype="torch.nn"), "the dtype 'torch.nn', which this version"),
    "unknown to the file": (
        lambda page: page["tensors"].update(y=page["tensors"]["x"]), "rank0.safetensors lacks its piece of the tensor 'y'",
    ),
    "no mapping": (lambda page: page.update(tensors=[]), "'tensors': .*valid dictionary"),
}  # fmt: skip


def piece(page: dict[str, Any]) -> Any:
    return page["tensors"]["x"]["pieces"][0]


def more(page: dict[str, Any], slices: list[list[int]]) -> None:
    """A second piece of the tensor, in a second file."""
    page["files"]["rank1.safetensors"] = page["files"]["rank0.safetensors"]
    page["tensors"]["x"]["pieces"].append({"slices": slices, "file": "rank1.safetensors"})


@pytest.mark.parametrize("name", HOSTILE)
def test_a_manifest_that_contradicts_itself_is_one_line(tmp_path: Path, name: str) -> None:
    """Sealed as a true one. None of these may take memory: the greatest would need an exabyte."""
    change, said = HOSTILE[name]
    path = checkpoint.save(tmp_path, 1, {"x": torch.ones(4, 3)}, {}, keep=1) / "manifest.json"
    page = json.loads(path.read_text())
    del page["checksum"]
    change(page)
    path.write_text(json.dumps({**page, "checksum": manifest._seal(page)}))
    with pytest.raises(ValueError, match=said) as raised:
        checkpoint.load(path.parent)
    assert str(path.parent) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_deep_nesting_is_no_manifest(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, {}, {}, keep=1)
    (path / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"has no manifest\.json that can be read"):
        checkpoint.load(path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, {}, {}, keep=1)
    (path / "manifest.json").write_text('{"format": 9}')
    with pytest.raises(ValueError, match="has format 9; this version reads 2"):
        checkpoint.load(path)
