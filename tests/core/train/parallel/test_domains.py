"""A task of each domain on two processes: the same gradient, the same losses, and checkpoints that change hands."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import on_ranks

from anyformer import api
from anyformer.testing.subject import Subject
from anyformer.train import checkpoint
from anyformer.train.parallel.gathering import whole
from anyformer.train.parallel.gradients import sum_gradients
from anyformer.train.parallel.world import ALONE, World
from anyformer.train.settings import Parallel

sys.path.insert(0, str(Path(__file__).parent))
from engines import STEPS, TASKS, WAYS, engine_of


def gradients_and_losses(world: World, way: str, ids: tuple[str, ...]) -> tuple[dict[str, np.ndarray], list[float]]:
    """The gradient of one step in float64, and the losses of a run in single precision."""
    parallel = Parallel() if world is ALONE else WAYS[way]
    engine = engine_of(ids, world, parallel, torch.float64)
    engine.model.train()
    engine.gradient(engine.draw(0))
    sum_gradients(engine.model.parameters(), world)
    named = engine.model.named_parameters()
    found = {name: whole(weight.grad).numpy() for name, weight in named if weight.grad is not None}
    engine = engine_of(ids, world, parallel, torch.float32)
    lines = [engine.advance() or {} for _ in range(STEPS)]
    names = [name for name in lines[0] if name.startswith("train/loss")]
    return found, [line[name] for line in lines for name in names]


@pytest.mark.parametrize("ids", [*((id,) for id in TASKS), TASKS], ids=[*TASKS, "mixture"])
def test_two_processes_learn_what_one_learns(ids: tuple[str, ...]) -> None:
    gradients, losses = gradients_and_losses(ALONE, "", ids)
    greatest = max(float(np.abs(each).max()) for each in gradients.values())
    for way, parallel in WAYS.items():
        for others in on_ranks(gradients_and_losses, 2, way, ids, shard=parallel.shard, tensor=parallel.tensor):
            assert others[0].keys() == gradients.keys()
            for name, gradient in gradients.items():
                assert np.abs(others[0][name] - gradient).max() < 1e-10 * greatest, f"{way}: {name}"
            np.testing.assert_allclose(others[1], losses, rtol=0, atol=1e-6, err_msg=way)


def a_mixture_in_memory(world: World, folder: str) -> list[str]:
    """Through the library: the first process makes the run, and the other finds its rows by the part's id."""
    found = {id: Subject.of(id) for id in TASKS[:2]}
    entries = [{"task": id, "data": each.rows, "valid": each.rows} for id, each in found.items()]
    settings = {"trunk": found[TASKS[0]].trunk, "training": {"steps": 2, "records": 4, "device": "cpu"}}
    run = api.pretrain(mixture=entries, out=Path(folder) / "run", settings=settings)
    return list(run.scores)


def test_a_mixture_in_memory_on_two_processes(tmp_path: Path) -> None:
    assert on_ranks(a_mixture_in_memory, 2, str(tmp_path)) == [list(TASKS[:2])] * 2


def a_used_folder(world: World, folder: str, name: str) -> str:
    """What is said where `torchrun` starts processes again, and the folder holds a run."""
    os.environ |= {"TORCHELASTIC_RESTART_COUNT": "1", "TORCHELASTIC_RUN_ID": name}
    try:
        api.finetune(TASKS[0], data=Subject.of(TASKS[0]).rows, out=folder)
    except ValueError as error:
        return str(error)
    return ""


def test_processes_that_are_started_again_take_up_no_run_but_their_own(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("job: ours\n")
    for said in on_ranks(a_used_folder, 2, str(tmp_path), "another"):
        assert said.startswith(f"{tmp_path} already holds a run; go on with: anyformer resume ")
    for said in on_ranks(a_used_folder, 2, str(tmp_path), "ours"):
        assert said.endswith("is damaged: it lacks what a run needs to go on")


def some_steps(world: World, way: str, folder: str, first: int, last: int) -> dict[str, np.ndarray]:
    """Train from the checkpoint of a step to another, and save there."""
    engine = engine_of(
        (TASKS[0],), world, Parallel() if world is ALONE else WAYS[way], torch.float64, ema=0.9, sam=0.05
    )
    if first:
        found, problems = checkpoint.newest(Path(folder), world)
        assert found is not None, problems
        engine.restore(found.step, found.tensors, found.scalars)
    assert engine.step == first
    for _ in range(first, last):
        engine.advance()
    checkpoint.save(Path(folder), last, engine.tensors(), engine.scalars(), 9, world)
    return {name: whole(tensor).numpy() for name, tensor in engine.tensors().items()}


@pytest.mark.parametrize("way", WAYS)
def test_checkpoints_change_hands(way: str, tmp_path: Path) -> None:
    """Five steps on two processes, five on one, five on two: the weights and all states of fifteen on one."""
    ranks = {"shard": WAYS[way].shard, "tensor": WAYS[way].tensor}
    straight = some_steps(ALONE, "", str(tmp_path / "straight"), 0, 15)
    for first, last in ((0, 5), (5, 10), (10, 15)):
        given = (way, str(tmp_path / "moved"), first, last)
        moved = some_steps(ALONE, *given) if first == 5 else on_ranks(some_steps, 2, *given, **ranks)[0]
    assert moved.keys() == straight.keys()
    for name, value in straight.items():
        np.testing.assert_allclose(moved[name], value, rtol=0, atol=1e-9 * max(1.0, np.abs(value).max()), err_msg=name)
