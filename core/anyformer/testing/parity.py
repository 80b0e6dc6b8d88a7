"""Parity with a home library: a family's model beside the library that its checkpoints come from.

A `Cell` names a family's head, the home library's model in several shapes, and what is asked. `check` then

1. draws weights of the home model at unit scale, biases, norms and running statistics included (new models have flat softmax
   and norms of one, which hide errors), and saves its folder;
2. reads the folder, and compares: the home library one record at a time, ours all records in one pack;
3. exports it again and compares keys, types and bytes, lets the home library load the export and answer again, and reads
   that export once more.

A third-party plugin checks its own families with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from anyformer import api, plugins
from anyformer.artifact import unique_tensors
from anyformer.data.packs import collate
from anyformer.infer.options import Generation
from anyformer.infer.solvers import generate
from anyformer.nn import Model
from anyformer.nn.pack import Parts
from anyformer.task import Array, Rng, Sample

Arrays = dict[str, Array]
"""The parts of one record."""
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-9}
"""Relative error at most."""


def _answers(model: Model, component: str, parts: Parts) -> list[Tensor]:
    """The head's output for each record: by token where it has a row for each token, else by sequence."""
    streams = model.encode(parts, component)
    output = model[component].head(streams)
    for stream in streams.values():
        if len(output) == stream.pack.num_tokens:
            return stream.pack.split(output)
    return list(output)


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix: a family and a head."""

    family: str
    head: str
    home: Callable[..., nn.Module]
    """A new model of the home library from the keywords of a shape."""
    shapes: Sequence[Mapping[str, Any]]
    """At least three: odd head counts, grouped keys, tied and untied, with and without bias, as the family has them."""
    records: Callable[[nn.Module, Rng], list[Arrays]]
    """Records for a home model, as parts of ours, of different and odd lengths."""
    theirs: Callable[[Any, Arrays], Tensor]
    """The home model's answer to one record."""
    ours: Callable[[Model, str, Parts], list[Tensor]] = _answers
    """Ours to all records."""
    task: str | None = None
    """Id of the task to load; None: what the folder is made for."""
    written: Callable[[Any, Arrays, int], list[int]] | None = None
    """For a head that generates: the home model's new ids for a record, with a number of beams."""
    load: Callable[[Any, Path], nn.Module] | None = None
    """The home library's way to load a folder; None: `from_pretrained` of the model's class."""
    save: Callable[[Any, Path], None] | None = None
    """The home library's way to save one; None: `save_pretrained`."""
    settle: Callable[[Any], None] | None = None
    """Called when a home model's weights are drawn: sets what must not be at random, lest all answers be alike."""
    seed: int = 0


@dataclass(frozen=True)
class Found:
    """What a check found for one shape."""

    error: dict[torch.dtype, float]
    """Relative error by type of number."""
    tokens: str
    """How generation compared; empty where the head does not generate."""
    round_trip: bool
    """Whether there was one: a task that the file's class is not made for has none of its own."""


def unit_scale(module: nn.Module, seed: int = 0) -> nn.Module:
    """Draw all weights, biases and norms so that each matters, and running statistics; returns the module, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    done: set[int] = set()
    for parameter in module.parameters():
        if id(parameter) not in done:
            done.add(id(parameter))
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
            drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / max(1, fan_in) ** 0.5
            parameter.data.copy_(drawn)
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(torch.randn(buffer.shape, generator=generator))
        elif name.endswith("running_var"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return module.eval()


def new_home(cell: Cell, shape: Mapping[str, Any]) -> nn.Module:
    """A home model of a shape with its weights drawn."""
    torch.manual_seed(cell.seed)
    home = unit_scale(cell.home(**shape), cell.seed)
    if cell.settle is not None:
        cell.settle(home)
    return home


def check(cell: Cell, shape: Mapping[str, Any], folder: Path, change: Callable[[Model], None] | None = None) -> Found:
    """All three comparisons for one shape, in a new folder; `change` breaks our model by hand, to see that it is noticed.

    Raises `AssertionError` where the comparison fails.
    """
    home = new_home(cell, shape)
    records = cell.records(home, np.random.default_rng(cell.seed))
    _save(cell, home, folder / "home")
    artifact = api.load(folder / "home", task=cell.task)
    (component,) = artifact.model.components
    if change is not None:
        change(artifact.model)
    with torch.inference_mode():
        error = {torch.float32: _error(cell, home, artifact.model, component, records)}
        tokens = _compare_written(cell, home, artifact.model, component, records)
        error[torch.float64] = _error(cell, home.double(), artifact.model.double(), component, records)
    for dtype, found in error.items():
        assert found <= TOLERANCE[dtype], f"{cell.family} {cell.head}: relative error {found:.1e} in {dtype}"
    return Found(error, tokens, _round_trip(cell, home.float(), folder))


def relative(found: Tensor, true: Tensor) -> float:
    """The greatest difference over the greatest true magnitude."""
    assert found.shape == true.shape, f"{list(found.shape)} beside {list(true.shape)}"
    return float((found - true).abs().max() / true.abs().max())


def _error(cell: Cell, home: nn.Module, model: Model, component: str, records: Sequence[Arrays]) -> float:
    parts, _ = collate([Sample(_as(record, home)) for record in records])
    ours = cell.ours(model, component, parts)
    assert len(ours) == len(records)
    return max(relative(own, cell.theirs(home, _as(record, home))) for own, record in zip(ours, records, strict=True))


def _as(record: Arrays, home: nn.Module) -> Arrays:
    """The record's continuous parts in the model's type."""
    dtype = np.float64 if next(home.parameters()).dtype == torch.float64 else np.float32
    return {name: part.astype(dtype) if part.dtype.kind == "f" else part for name, part in record.items()}


def _compare_written(cell: Cell, home: nn.Module, model: Model, component: str, records: Sequence[Arrays]) -> str:
    if cell.written is None:
        return ""
    task: Any = model[component].task
    notes = task.notes() if hasattr(task, "notes") else {"end": task.tokens["text"].end_id}
    samples = [Sample(dict(record), notes=dict(notes)) for record in records]
    for beams in (1, 4):
        options = Generation(max_new_tokens=12, num_beams=beams)
        found = dict(generate(model, component, samples, options, [0] * len(samples)))
        for index, record in enumerate(records):
            true = cell.written(home, record, beams)
            own = found[index].values["ids"].tolist()
            assert own == true, f"{cell.family}, {beams} beams: {own} beside {true}"
    return "equal, greedy and beam 4"


def _save(cell: Cell, home: Any, folder: Path) -> None:
    if cell.save is not None:
        cell.save(home, folder)
    else:
        home.save_pretrained(folder)


def _round_trip(cell: Cell, home: nn.Module, folder: Path) -> bool:
    """File to ours to file, and ours to file to ours; the home library loads the export and agrees.

    False for a task that the file's class is not made for, such as contacts from a masked-token file.
    """
    artifact = api.load(folder / "home", task=cell.task)
    if not _serves_itself(artifact.info["origin"], artifact.component()):
        return False
    api.export(artifact, folder / "export")
    before, after = (_tensors(folder / name) for name in ("home", "export"))
    assert before.keys() == after.keys(), f"keys differ: {sorted(before.keys() ^ after.keys())}"
    for name, tensor in before.items():
        assert tensor.dtype == after[name].dtype, name
        assert torch.equal(tensor, after[name]), name
    again = api.load(folder / "export", task=cell.task)
    for name, tensor in unique_tensors(artifact.model).items():
        assert torch.equal(tensor, unique_tensors(again.model)[name]), name
    loaded: Any = cell.load(home, folder / "export") if cell.load else type(home).from_pretrained(folder / "export")  # type: ignore[attr-defined]
    own, other = home.state_dict(), loaded.state_dict()
    assert own.keys() == other.keys()
    for name, tensor in own.items():
        assert torch.equal(tensor, other[name]), name
    return True


def _serves_itself(origin: Mapping[str, Any], component: str) -> bool:
    served = plugins.families()[origin["family"]].served()
    return any(name == origin["architecture"] and architecture.task == component for name, architecture in served)


def _tensors(folder: Path) -> dict[str, Tensor]:
    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}
