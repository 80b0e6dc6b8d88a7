"""Checkpoints of several processes: what some of them write, any number of them reads, and all of them agree."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import on_ranks
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Placement, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from anyformer import durable
from anyformer.train import checkpoint
from anyformer.train.optimizer import load_state_tensors, state_tensors
from anyformer.train.parallel.world import ALONE, World
from anyformer.train.pieces import fill, fill_all, part

S0, S1, R = Shard(0), Shard(1), Replicate()
LAYOUTS: dict[str, tuple[tuple[int, ...], torch.dtype, Placement, tuple[Placement, Placement]]] = {
    # shape, dtype, placement on two ranks, on two times two
    "rows": ((8, 3), torch.float32, S0, (S0, S0)),
    "uneven": ((5, 2), torch.float64, S0, (S0, S1)),
    "few": ((1, 4), torch.float32, S0, (S0, S0)),
    "columns": ((3, 5), torch.bfloat16, S1, (S1, S0)),
    "uneven twice": ((7,), torch.int64, S0, (S0, S0)),
    "same": ((6, 2), torch.float32, R, (R, R)),
    "first axis": ((6, 3), torch.float32, S0, (S0, R)),
    "second axis": ((5, 6), torch.float32, R, (R, S1)),
    "number": ((), torch.float32, R, (R, R)),
    "nothing": ((0, 3), torch.float32, S0, (S0, R)),
}


def values() -> dict[str, Tensor]:
    """What is saved: by name, whole."""
    generator = torch.Generator().manual_seed(0)
    drawn = {
        name: (torch.randn(shape, generator=generator) * 9).to(dtype) for name, (shape, dtype, *_) in LAYOUTS.items()
    }
    return {**drawn, "plain": torch.arange(20.0), "plain number": torch.tensor(3.0)}


def spread(world: World, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same as the ranks have it, each its part."""
    if world.size == 1:
        return tensors
    mesh = init_device_mesh("cpu", (2,) if world.size == 2 else (2, 2))
    placed = {name: ([one] if world.size == 2 else list(two)) for name, (_, _, one, two) in LAYOUTS.items()}
    return {
        name: distribute_tensor(tensor, mesh, placed[name]) if name in placed else tensor
        for name, tensor in tensors.items()
    }


def save(world: World, folder: Path, step: int = 1, factor: int = 1) -> None:
    tensors = {name: tensor * factor for name, tensor in values().items()}
    checkpoint.save(folder, step, spread(world, tensors), {"rank": world.rank}, 5, world)


def take_up(world: World, *folders: Path) -> list[str]:
    """Names of tensors that this rank does not read as they were saved."""
    wrong = []
    for folder in folders:
        found, problems = checkpoint.newest(folder, world)
        assert found is not None, problems
        assert (found.step, found.scalars, problems) == (1, {"rank": 0}, [])
        own = spread(world, {name: torch.zeros_like(tensor) for name, tensor in values().items()})
        fill_all(own, found.tensors, "the checkpoint")
        for name, tensor in spread(world, values()).items():
            slices, expected = part(tensor)
            if not torch.equal(part(own[name])[1], expected) or not torch.equal(
                found.tensors[name].read(slices), expected
            ):
                wrong.append(f"{folder.name}: {name}")
    return wrong


def save_and_take_up(world: World, own: Path, *others: Path) -> list[str]:
    save(world, own)
    return take_up(world, own, *others)


def test_any_number_reads_what_any_number_wrote(tmp_path: Path) -> None:
    """1, 2 and 4 processes write, and each number reads what the others wrote."""
    one, two, four = (tmp_path / name for name in ("one", "two", "four"))
    save(ALONE, one)
    assert on_ranks(save_and_take_up, 2, two, one) == [[], []]
    assert on_ranks(save_and_take_up, 4, four, one, two) == [[]] * 4
    assert on_ranks(take_up, 2, four) == [[], []]
    for folder in (one, two, four):
        found = checkpoint.load(folder / "00000001").read()
        assert found.keys() == values().keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in values().items())
    assert_each_value_is_written_once_and_all_write(one, two, four)


def assert_each_value_is_written_once_and_all_write(*folders: Path) -> None:
    total = sum(tensor.nbytes for tensor in values().values())
    for folder, size in zip(folders, (1, 2, 4), strict=True):
        found = json.loads((folder / "00000001" / "manifest.json").read_text())
        written = dict.fromkeys(found["files"], 0)
        for name, entry in found["tensors"].items():
            for piece in entry["pieces"]:
                shape = [stop - start for start, stop in piece["slices"]]
                written[piece["file"]] += int(torch.tensor(shape).prod()) * values()[name].itemsize
        assert list(written) == [f"rank{rank}.safetensors" for rank in range(size)]
        assert sum(written.values()) == total
        assert max(written.values()) < total / size + 50, written


# -- the engine's own tensors


def learner(world: World) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model over all axes of the mesh after two steps; its second layer does not divide evenly."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5), nn.Linear(5, 3, bias=False))
    if world.mesh is not None:
        if world.along("tensor")[1] > 1:
            parallelize_module(model, world.mesh["tensor"], {"0": ColwiseParallel(), "2": RowwiseParallel()})
        fully_shard(model, mesh=world.mesh["replicate", "shard"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        model(torch.randn(4, 6, generator=generator)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


def everything(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **state_tensors(optimizer, model)}


def whole(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: getattr(tensor, "full_tensor", lambda t=tensor: t)().detach() for name, tensor in tensors.items()}


def learn_and_save(world: World, folder: Path) -> dict[str, Tensor]:
    tensors = everything(*learner(world))
    checkpoint.save(folder, 2, tensors, {}, 1, world)
    return whole(tensors)


def restore(world: World, folder: Path) -> dict[str, Tensor]:
    """A learner that forgets all it has, takes up the checkpoint, and makes one more step."""
    model, optimizer = learner(world)
    optimizer.state.clear()
    found, _ = checkpoint.newest(folder, world)
    assert found is not None
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        fill(parameter, found.tensors[name])
    load_state_tensors(optimizer, model, {n: t for n, t in found.tensors.items() if n not in parameters})
    taken = {name: tensor.clone() for name, tensor in whole(everything(model, optimizer)).items()}
    model(torch.ones(4, 6)).sum().backward()
    optimizer.step()
    return taken


def test_weights_and_optimizer_of_every_mesh(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    saved = on_ranks(learn_and_save, 4, tmp_path / "a", shard=2, tensor=2)[0]
    assert "0.weight/exp_avg_sq" in saved
    alone = checkpoint.load(tmp_path / "a" / "00000002").read()
    for found in (alone, restore(ALONE, tmp_path / "a"), *on_ranks(restore, 2, tmp_path / "a", shard=2)):
        assert found.keys() == saved.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in saved.items())


# -- damage, full disks, kills


def test_all_ranks_go_back_behind_a_damaged_one(tmp_path: Path) -> None:
    for heard in zip(*on_ranks(damage, 2, tmp_path), strict=True):
        assert heard[0] == heard[1]
        name, step, problems = heard[0]
        assert step == 10
        assert len(problems) == 1
        assert "00000020" in problems[0]
        assert name in problems[0]


def damage(world: World, folder: Path) -> list[tuple[str, int, list[str]]]:
    """Flip a byte of each file in turn; what this rank hears."""
    for step in (10, 20):
        save(world, folder, step, factor=step)
    heard = []
    for name in ("rank0.safetensors", "rank1.safetensors", "manifest.json"):
        path = folder / "00000020" / name
        before = path.read_bytes()
        world.wait()
        if world.leads:
            path.write_bytes(before[:-9] + bytes([before[-9] ^ 1]) + before[-8:])
        world.wait()
        found, problems = checkpoint.newest(folder, world)
        assert found is not None
        heard.append((name, found.step, problems))
        world.wait()
        if world.leads:
            path.write_bytes(before)
    return heard


def refused(call: Callable[[], Any]) -> tuple[int | None, str | None]:
    with pytest.raises(OSError) as raised:  # noqa: PT011 - what it says is compared by the test
        call()
    return raised.value.errno, raised.value.strerror


def fill_up(world: World, folder: Path) -> list[Any]:
    """The disk of one rank is full, at one moment; then a save goes well."""
    save(world, folder, 10)

    def full(*given: Any, **named: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def broken(*given: Any, **named: Any) -> None:
        raise RuntimeError("broken")

    found: list[Any] = []
    moments = ((1, durable, "write_tensors", full), (1, os, "fsync", full), (0, Path, "write_text", full),
               (0, Path, "rename", full), (0, Path, "mkdir", full), (1, durable, "write_tensors", broken))  # fmt: skip
    for rank, owner, name, failing in moments:
        with pytest.MonkeyPatch.context() as patch:
            if world.rank == rank:
                patch.setattr(owner, name, failing)
            if failing is broken and world.rank == rank:
                with pytest.raises(RuntimeError, match="broken"):
                    save(world, folder, 20)
            else:
                found.append(refused(lambda: save(world, folder, 20)))
        world.wait()
        assert sorted(path.name for path in folder.iterdir()) == ["00000010"]
        world.wait()
    save(world, folder, 20)
    taken, _ = checkpoint.newest(folder, world)
    return [*found, taken and taken.step]


def test_a_full_disk_under_one_rank_is_heard_by_all(tmp_path: Path) -> None:
    first, second = on_ranks(fill_up, 2, tmp_path)
    here, there = (errno.ENOSPC, "No space left on device"), "No space left on device (process {} of 2)"
    assert first == [
        *[(errno.ENOSPC, there.format(1))] * 2, *[here] * 3, (errno.EIO, "RuntimeError: broken (process 1 of 2)"), 20
    ]  # fmt: skip
    assert second == [*[here] * 2, *[(errno.ENOSPC, there.format(0))] * 3, 20]


def die(world: World, folder: Path, rank: int, name: str) -> None:
    """Save one checkpoint; in the next, one rank is killed at a moment."""
    save(world, folder, 10, factor=10)
    owner: Any = durable if name in ("write_tensors", "sync") else Path

    def killed(*given: Any) -> None:
        if name == "write_tensors":
            given[1].write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    if world.rank == rank:
        setattr(owner, name, killed)
    save(world, folder, 20, factor=20)


@pytest.mark.parametrize(("rank", "name"), [(1, "write_tensors"), (1, "sync"), (0, "write_text"), (0, "rename")])
def test_a_kill_of_any_rank_leaves_the_earlier_one(tmp_path: Path, rank: int, name: str) -> None:
    with pytest.raises(RuntimeError, match=rf"^rank {rank} ended without a result|^rank {1 - rank} failed"):
        on_ranks(die, 2, tmp_path, rank, name)
    durable.remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["00000010"]
    found, problems = checkpoint.newest(tmp_path)
    assert found is not None
    assert (found.step, problems) == (10, [])
    assert torch.equal(found.tensors["uneven"].read(), values()["uneven"] * 10)


# -- a folder that not all see


def look(world: World, folder: Path) -> str:
    checkpoint.require_shared(folder / "not" / "yet", world)
    if world.rank == 1:
        durable.aside = lambda folder: folder / "on a disk of its own"
    with pytest.raises(ValueError, match="does not see") as raised:
        checkpoint.require_shared(folder, world)
    return str(raised.value)


def test_a_folder_that_one_rank_does_not_see(tmp_path: Path) -> None:
    said = (
        f"process 1 of 2 does not see what the first one writes to {tmp_path}; all of them write to one folder: "
        "give one on a disk that all machines share"
    )
    assert on_ranks(look, 2, tmp_path) == [said, said]
    assert list(tmp_path.iterdir()) == []
    checkpoint.require_shared(tmp_path / "alone", ALONE)
