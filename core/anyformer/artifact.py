"""Artifacts: a saved model with everything it needs to answer, and never code.

```
model/
  anyformer.json                     trunk, components (id, config, tokenizers), versions, data fingerprint, scores
  model.safetensors                  weights
  kept.safetensors                   weights of a checkpoint it came from that it does not use, for the way back
  components/<domain>/<name>/        state.json, state.safetensors
    tokenizers/<name>/               what the tokenizer learned
```

* Ids resolve through the registry of installed plugins; nothing in the file names a module, a file or an address.
* Written aside and renamed, so that a folder holds a whole artifact or none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file
from torch import nn

from anyformer import durable, plugins
from anyformer.description import FORMAT, NAME, ComponentEntry, TokenizerEntry, read_json, read_page, validated
from anyformer.nn import Component, Model, build, config
from anyformer.task import Objective, Task, Tokenizer, resolve

__all__ = [
    "NAME", "Artifact", "Bound", "build_model", "half_of", "load", "load_tensors", "read_description", "save",
    "tokenizers_of", "unique_tensors", "write_description",
]  # fmt: skip

KEPT = "kept.safetensors"
OVER = "@"
"""Between an objective and its tokenizer in the id of one component of several: `masked-token@weather/codes`."""
Bound = Task[Any, Any, Any] | Objective


@dataclass
class Artifact:
    """A model and what is known about it."""

    model: Model
    trunk: config.Trunk
    info: dict[str, Any] = field(default_factory=dict)
    """`data` fingerprint, `scores`, `run`, `origin`: whatever the maker noted."""
    kept: dict[str, torch.Tensor] = field(default_factory=dict)
    """Tensors of the checkpoint that the model came from and does not use, by their key: what an export writes back."""

    def component(self, task: str | None = None) -> str:
        """The id of the component for `task` (full or bare); without a name, the only one there is."""
        ids = list(self.model.components)
        if task is None and len(ids) == 1:
            return ids[0]
        found = [id for id in ids if task is not None and task in (id, _bare(id))]
        if len(found) == 1:
            return found[0]
        said = f"the model has no component {task!r}" if task is not None else "the model has several components"
        raise ValueError(f"{said}; name one of: {', '.join(ids)}")


def build_model(trunk: config.Trunk, tasks: Mapping[str, Bound]) -> Model:
    """A new model with weights drawn from PyTorch's default generator.

    Of several components each is built for the half of the trunk that it needs: the other half is there for others.
    """
    components = {}
    for id, task in tasks.items():
        seen = half_of(trunk, task.trunk) if len(tasks) > 1 else trunk
        components[id] = Component(task, task.embedding(seen), task.head(seen))
    return Model(build.trunk(trunk), components)


def half_of(trunk: config.Trunk, needs: Literal["encoder", "decoder", "both"]) -> config.Trunk:
    """The trunk with the half that is needed alone; the whole trunk where that half cannot stand alone."""
    stack = None if needs == "both" else getattr(trunk, needs)
    return trunk if stack is None or stack.cross else config.Trunk(**{needs: stack})


def save(artifact: Artifact, folder: Path) -> None:
    """Write an artifact; an artifact that was there before is replaced when the new one is whole."""
    with durable.whole(folder) as aside:
        write_description(artifact, aside)
        durable.write_tensors(unique_tensors(artifact.model), aside / "model.safetensors")
        if artifact.kept:
            durable.write_tensors(artifact.kept, aside / KEPT)


def write_description(artifact: Artifact, folder: Path) -> None:
    """Write everything but the weights: `anyformer.json` and what each component learned from data."""
    components = {}
    for id in artifact.model.components:
        task = artifact.model[id].task
        components[id] = _describe(id, task)
        _write_learned(task, folder / "components" / id)
    page = {
        "format": FORMAT,
        "anyformer": version("anyformer"),
        "trunk": artifact.trunk.model_dump(mode="json"),
        "components": components,
        **artifact.info,
    }
    (folder / NAME).write_text(json.dumps(page, indent=1))


def load(folder: Path, device: str | torch.device = "cpu") -> Artifact:
    """Read an artifact, ready to answer.

    Raises `ValueError` in one line: no artifact there, a missing plugin, another format, or weights that do not fit.
    """
    artifact = read_description(folder)
    weights = folder / "model.safetensors"
    tensors = _read_tensors(weights, device)
    if (folder / KEPT).is_file():
        artifact.kept = _read_tensors(folder / KEPT, "cpu")
    artifact.model.to(device)
    load_tensors(artifact.model, tensors, str(weights))
    artifact.model.eval()
    return artifact


def _read_tensors(path: Path, device: str | torch.device) -> dict[str, torch.Tensor]:
    try:
        return load_file(path, device=str(device))
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


def read_description(folder: Path) -> Artifact:
    """The model that a folder describes, with new weights: everything `write_description` wrote."""
    page = read_page(folder)
    tasks = {id: _read_component(id, entry, folder) for id, entry in page.components.items()}
    return Artifact(build_model(page.trunk, tasks), page.trunk, page.info)


def unique_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """The state of a model by name, a shared weight once, under its first name."""
    seen: set[int] = set()
    found = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor.detach().contiguous()
    return found


def load_tensors(model: nn.Module, tensors: Mapping[str, torch.Tensor], where: str) -> None:
    """Copy tensors into a model.

    Raises `ValueError` naming the first that is missing, unknown, or of another shape or dtype.
    """
    own = unique_tensors(model)
    for name in own:
        if name not in tensors:
            raise ValueError(f"{where} lacks the weight {name!r}")
    for name, tensor in tensors.items():
        if name not in own:
            raise ValueError(f"{where} has the weight {name!r}, which the model does not know")
        if own[name].shape != tensor.shape:
            raise ValueError(
                f"{where}: {name!r} has shape {list(tensor.shape)}; the model needs {list(own[name].shape)}"
            )
        if own[name].dtype != tensor.dtype:
            raise ValueError(f"{where}: {name!r} is {tensor.dtype}; the model needs {own[name].dtype}")
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def _bare(id: str) -> str:
    """What a component is also called: a task without its domain, an objective without its tokenizer."""
    objective, over, _ = id.partition(OVER)
    return objective if over else id.partition("/")[2]


def _describe(id: str, task: Bound) -> dict[str, Any]:
    domain = id.partition("/")[0]
    kind = "objective" if isinstance(task, Objective) else "task"
    entry: dict[str, Any] = {"kind": kind, "config": task.config.model_dump(mode="json"), "tokenizers": {}}
    if kind == "task":
        entry["distribution"], entry["version"] = plugins.distribution_of(domain)
    for name, tokenizer in tokenizers_of(task).items():
        entry["tokenizers"][name] = {
            "id": tokenizer.registered_id,
            "config": tokenizer.config.model_dump(mode="json", exclude={"id"}),
        }
    return entry


def tokenizers_of(task: Bound) -> dict[str, Tokenizer]:
    """A component's tokenizers by name; the only one of an objective is called `tokenizer`."""
    return {"tokenizer": task.tokenizer} if isinstance(task, Objective) else dict(task.tokens)


def _write_learned(task: Bound, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, tokenizer in tokenizers_of(task).items():
        (folder / "tokenizers" / name).mkdir(parents=True, exist_ok=True)
        tokenizer.save(folder / "tokenizers" / name)
    if isinstance(task, Task):
        arrays = {
            key: np.asarray(value, order="C") for key, value in task.state.items() if isinstance(value, np.ndarray)
        }
        plain = {key: value for key, value in task.state.items() if key not in arrays}
        (folder / "state.json").write_text(json.dumps(plain))
        if arrays:
            save_arrays(arrays, folder / "state.safetensors")


def _read_component(id: str, entry: ComponentEntry, folder: Path) -> Bound:
    place, where = folder / "components" / id, f"{folder / NAME}, {id}"
    if entry.kind == "objective":
        from anyformer.objectives import OBJECTIVES

        name, _, over = id.partition(OVER)
        if name not in OBJECTIVES:
            raise ValueError(f"{where}: unknown objective; there are: {', '.join(OBJECTIVES)}")
        objective = OBJECTIVES[name]
        if over and [over] != [tokenizer.id for tokenizer in entry.tokenizers.values()]:
            raise ValueError(f"{where}: its tokenizer is not {over!r}, as its name says")
        found = _read_tokenizers({"tokenizer": None}, entry, place, where)
        return objective(validated(objective.Config, entry.config, where), found["tokenizer"])
    task = plugins.task(id)
    try:
        config = validated(task.Config, entry.config, where)
        return task(config, _read_tokenizers(task.tokenizers, entry, place, where), _read_state(place))
    except ValueError as error:
        made_by = (entry.distribution, entry.version)
        if None in made_by or made_by == plugins.distribution_of(id.partition("/")[0]):
            raise
        raise ValueError(
            f"{error}; it was saved with {entry.distribution} {entry.version}; to install that: "
            f"pip install {entry.distribution}=={entry.version}"
        ) from None


def _read_tokenizers(
    references: Mapping[str, str | None], entry: ComponentEntry, folder: Path, where: str
) -> dict[str, Tokenizer]:
    if set(entry.tokenizers) != set(references):
        found, needed = (", ".join(map(repr, sorted(names))) or "none" for names in (entry.tokenizers, references))
        raise ValueError(f"{where}: it has the tokenizers {found}; it needs: {needed}")
    return {
        name: _read_tokenizer(read, references[name], folder / "tokenizers" / name, where)
        for name, read in entry.tokenizers.items()
    }


def _read_tokenizer(entry: TokenizerEntry, reference: str | None, folder: Path, where: str) -> Tokenizer:
    if entry.id is None and reference is None:
        raise ValueError(f"{where}: its tokenizer has no id")
    kind: type[Tokenizer] = plugins.tokenizer(entry.id) if entry.id is not None else resolve(reference or "")
    tokenizer = kind(validated(kind.Config, entry.config, where))
    tokenizer.registered_id = entry.id
    try:
        tokenizer.load(folder)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(f"{folder} cannot be read: {error}") from None
    return tokenizer


def _read_state(folder: Path) -> dict[str, Any]:
    state = read_json(folder / "state.json")
    if not isinstance(state, dict):
        raise ValueError(f"{folder / 'state.json'} holds no state by name")
    arrays = folder / "state.safetensors"
    if arrays.exists():
        try:
            state.update(load_arrays(arrays))
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{arrays} cannot be read: {error}") from None
    return state
