"""Checkpoints are whole or absent, and every byte of them is under a checksum."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anyformer import durable
from anyformer.train import checkpoint, pieces

SCALARS = {"progress": {"loss": 0.1 + 0.2, "steps": 3}, "seconds": 1e-7, "name": "ä"}


def tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "model/a.b/c": torch.randn(4, 3, generator=generator),
        "model/turned": torch.randn(3, 4, generator=generator).T,
        "optimizer/step": torch.tensor(3.0),
        "model/half": torch.randn(5, generator=generator).bfloat16(),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the checkpoints of steps 10 and 20."""
    for step in (10, 20):
        checkpoint.save(tmp_path, step, tensors(step), SCALARS, keep=5)
    return tmp_path


def test_round_trip(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 12, tensors(), SCALARS, keep=1)
    found = checkpoint.load(path)
    assert (found.step, found.scalars) == (12, SCALARS)
    assert found.tensors.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert found.tensors[name].dtype == tensor.dtype
        assert torch.equal(found.tensors[name].read(), tensor)
    assert torch.equal(found.read()["model/turned"], tensors()["model/turned"])
    assert sorted(path.name for path in path.iterdir()) == ["manifest.json", "rank0.safetensors"]


def test_manifest_says_where_each_tensor_lies(tmp_path: Path) -> None:
    page = json.loads((checkpoint.save(tmp_path, 1, tensors(), {}, keep=1) / "manifest.json").read_text())
    assert page["tensors"]["model/half"] == {
        "shape": [5], "dtype": "torch.bfloat16", "pieces": [{"slices": [[0, 5]], "file": "rank0.safetensors"}]
    }  # fmt: skip


def test_a_part_is_read_by_its_slices(tmp_path: Path) -> None:
    stored = checkpoint.load(checkpoint.save(tmp_path, 1, tensors(), {}, keep=1)).tensors
    assert torch.equal(stored["model/a.b/c"].read(((1, 3), (0, 2))), tensors()["model/a.b/c"][1:3, :2])
    assert stored["model/a.b/c"].read(((2, 2), (0, 3))).shape == (0, 3)
    assert torch.equal(stored["optimizer/step"].read(()), torch.tensor(3.0))


def test_empty_tensors(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, {"none": torch.zeros(0, 4, dtype=torch.int64)}, {}, keep=1)
    found = checkpoint.load(tmp_path / "00000001").read()["none"]
    assert (found.shape, found.dtype) == ((0, 4), torch.int64)


def test_a_target_of_another_kind_is_refused_before_it_is_changed(tmp_path: Path) -> None:
    stored = checkpoint.load(checkpoint.save(tmp_path, 1, tensors(), {}, keep=1)).tensors
    targets = {name: torch.zeros_like(tensor) for name, tensor in tensors().items()}
    pieces.fill_all(targets, stored, "the checkpoint")
    assert all(torch.equal(targets[name], tensor) for name, tensor in tensors().items())
    wrong: dict[str, tuple[dict[str, torch.Tensor], str]] = {
        "shape": ({"model/half": torch.zeros(6).bfloat16()}, r"'model/half' has shape \[5\]; the model needs \[6\]"),
        "dtype": ({"model/half": torch.zeros(5)}, "'model/half' is torch.bfloat16; the model needs torch.float32"),
        "missing": ({"more": torch.zeros(1)}, "lacks the weight 'more'"),
    }
    for change, said in wrong.values():
        targets = {name: torch.zeros_like(tensor) for name, tensor in tensors().items()} | change
        with pytest.raises(ValueError, match=f"^the checkpoint:? {said}$"):
            pieces.fill_all(targets, stored, "the checkpoint")
        assert not any(bool(tensor.any()) for tensor in targets.values())
    with pytest.raises(
        ValueError, match=r"^the checkpoint has the weight 'model/half', which the model does not know$"
    ):
        pieces.fill_all({n: t for n, t in tensors().items() if n != "model/half"}, stored, "the checkpoint")
    with pytest.raises(ValueError, match=r"^a tensor has shape \[4, 3\]; the model needs \[3, 4\]$"):
        pieces.fill(torch.zeros(3, 4), stored["model/a.b/c"])


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in range(1, 6):
        checkpoint.save(tmp_path, step, tensors(), {}, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000004", "00000005"]


@pytest.mark.parametrize("file", ["manifest.json", "rank0.safetensors"])
def test_any_flipped_byte_is_found(folder: Path, file: str) -> None:
    path = folder / "00000020" / file
    whole = path.read_bytes()
    places = np.random.default_rng(0).integers(0, len(whole), 200).tolist()
    for place in [0, len(whole) - 1, *places]:
        for bit in (0, 4, 6):
            broken = bytearray(whole)
            broken[place] ^= 1 << bit
            path.write_bytes(broken)
            found, (problem,) = checkpoint.newest(folder)
            assert found is not None
            assert found.step == 10
            assert "00000020" in problem
            assert file in problem
    path.write_bytes(whole)
    found, problems = checkpoint.newest(folder)
    assert found is not None
    assert (found.step, problems) == (20, [])


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [remove, truncate, empty])
@pytest.mark.parametrize("file", ["manifest.json", "rank0.safetensors"])
def test_a_checkpoint_that_is_not_whole_is_passed_over(folder: Path, file: str, damage: Callable[[Path], None]) -> None:
    damage(folder / "00000020" / file)
    found, (problem,) = checkpoint.newest(folder)
    assert found is not None
    assert found.step == 10
    assert file in problem
    assert "\n" not in problem


def test_nothing_whole(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path / "none") == (None, [])


def test_a_damaged_newer_one_pushes_no_whole_one_out(folder: Path) -> None:
    empty(folder / "00000020" / "rank0.safetensors")
    checkpoint.save(folder, 15, tensors(), {}, keep=1)
    found, _ = checkpoint.newest(folder)
    assert found is not None
    assert found.step == 15
    checkpoint.save(folder, 20, tensors(), {}, keep=1)
    assert [path.name for path in folder.iterdir()] == ["00000020"]


def test_half_written_folders_are_removed(folder: Path) -> None:
    (folder / ".writing-00000030").mkdir()
    (folder / ".writing-00000030" / "rank0.safetensors").write_bytes(b"half")
    durable.remove_unfinished(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["00000010", "00000020"]


@pytest.mark.parametrize("call", ["fsync", "rename", "text", "tensors"])
def test_full_disk_leaves_the_earlier_ones(folder: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*given: Any, **named: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    target: Any = {"fsync": os, "rename": Path, "text": Path, "tensors": durable}[call]
    name = {"text": "write_text", "tensors": "write_tensors"}.get(call, call)
    monkeypatch.setattr(target, name, full)
    with pytest.raises(OSError, match="No space left on device"):
        checkpoint.save(folder, 30, tensors(), {}, keep=1)
    monkeypatch.undo()
    assert sorted(path.name for path in folder.iterdir()) == ["00000010", "00000020"]
    found, problems = checkpoint.newest(folder)
    assert found is not None
    assert (found.step, problems) == (20, [])


def test_what_safetensors_cannot_write_is_an_error_of_the_system(tmp_path: Path) -> None:
    """The library has an error of its own; a limit on the size of files is as real as a full disk."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as raised:
            checkpoint.save(tmp_path, 1, {"a": torch.zeros(10_000)}, {}, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert raised.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []
