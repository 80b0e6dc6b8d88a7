"""Artifacts: a saved model with everything it needs to answer, and never code.

```
model/
  anyformer.json                     trunk, components (id, config, tokenizers), versions, data fingerprint, scores
  model.safetensors                  weights
  components/<domain>/<name>/        state.json, state.safetensors
    tokenizers/<name>/               what the tokenizer learned
```

* Ids resolve through the registry of installed plugins; nothing in the file names a module, a file or an address.
* Written aside and renamed, so that a folder holds a whole artifact or none.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import nn

from anyformer import plugins
from anyformer.nn import Component, Model, build, config
from anyformer.task import Objective, Task, Tokenizer, resolve

FORMAT = 1
NAME = "anyformer.json"
Bound = Task[Any, Any, Any] | Objective


@dataclass
class Artifact:
    """A model and what is known about it."""

    model: Model
    trunk: config.Trunk
    info: dict[str, Any] = field(default_factory=dict)
    """`data` fingerprint, `scores`, `run`: whatever the maker noted."""

    def component(self, task: str | None = None) -> str:
        """The id of the component for `task` (full or bare); without a name, the only one there is."""
        ids = list(self.model.components)
        if task is None and len(ids) == 1:
            return ids[0]
        found = [id for id in ids if task is not None and task in (id, id.partition("/")[2])]
        if len(found) == 1:
            return found[0]
        raise ValueError(f"the model has no component {task!r}; it has: {', '.join(ids)}")


def build_model(trunk: config.Trunk, tasks: Mapping[str, Bound]) -> Model:
    """A new model with weights drawn from PyTorch's default generator."""
    components = {id: Component(task, task.embedding(trunk), task.head(trunk)) for id, task in tasks.items()}
    return Model(build.trunk(trunk), components)


def save(artifact: Artifact, folder: Path) -> None:
    """Write an artifact; an artifact that was there before is replaced when the new one is whole."""
    aside = folder.with_name(f".writing-{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        write_description(artifact, aside)
        save_file(unique_tensors(artifact.model), aside / "model.safetensors", metadata={"format": "pt"})
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


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
    try:
        tensors = load_file(weights, device=str(device))
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{weights} cannot be read: {error}") from None
    artifact.model.to(device)
    load_tensors(artifact.model, tensors, str(weights))
    artifact.model.eval()
    return artifact


def read_description(folder: Path) -> Artifact:
    """The model that a folder describes, with new weights: everything `write_description` wrote."""
    page = _read_page(folder)
    trunk = config.Trunk.model_validate(page["trunk"])
    tasks = {id: _read_component(id, entry, folder / "components" / id) for id, entry in page["components"].items()}
    info = {key: value for key, value in page.items() if key not in ("format", "anyformer", "trunk", "components")}
    return Artifact(build_model(trunk, tasks), trunk, info)


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
    """Copy tensors into a model. Raises `ValueError` naming the first that is missing, unknown or of another shape."""
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
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


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
            key: np.ascontiguousarray(value) for key, value in task.state.items() if isinstance(value, np.ndarray)
        }
        plain = {key: value for key, value in task.state.items() if key not in arrays}
        (folder / "state.json").write_text(json.dumps(plain))
        if arrays:
            save_arrays(arrays, folder / "state.safetensors")


def _read_page(folder: Path) -> dict[str, Any]:
    path = folder / NAME
    if not path.is_file():
        raise ValueError(_what_is_there(folder))
    try:
        page = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    if not isinstance(page, dict) or page.get("format") != FORMAT:
        found = page.get("format") if isinstance(page, dict) else page
        raise ValueError(f"{path} has format {found!r}; this version of anyformer reads format {FORMAT}")
    return page


def _what_is_there(folder: Path) -> str:
    if not folder.exists():
        return f"there is no model at {folder}; give a run folder, or a folder with {NAME}"
    if not folder.is_dir():
        return f"{folder} is a file; a model is a folder with {NAME}"
    names = sorted(path.name for path in folder.iterdir())
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"{folder} is no model: it has no {NAME}; it has: {shown or 'nothing'}"


def _read_component(id: str, entry: Mapping[str, Any], folder: Path) -> Bound:
    if entry["kind"] == "objective":
        from anyformer.objectives import OBJECTIVES

        if id not in OBJECTIVES:
            raise ValueError(f"unknown objective {id!r}; there are: {', '.join(OBJECTIVES)}")
        objective = OBJECTIVES[id]
        read = entry["tokenizers"]["tokenizer"]
        tokenizer = _read_tokenizer(plugins.tokenizer(read["id"]), read, folder / "tokenizers" / "tokenizer")
        return objective(objective.Config.model_validate(entry["config"]), tokenizer)
    task = plugins.task(id)
    tokenizers = {}
    for name, read in entry["tokenizers"].items():
        found = plugins.tokenizer(read["id"]) if read["id"] else resolve(task.tokenizers[name])
        tokenizers[name] = _read_tokenizer(found, read, folder / "tokenizers" / name)
    state = json.loads((folder / "state.json").read_text())
    if (folder / "state.safetensors").exists():
        state.update(load_arrays(folder / "state.safetensors"))
    return task(task.Config.model_validate(entry["config"]), tokenizers, state)


def _read_tokenizer(kind: type[Tokenizer], entry: Mapping[str, Any], folder: Path) -> Tokenizer:
    tokenizer = kind(kind.Config.model_validate(entry["config"]))
    tokenizer.registered_id = entry["id"]
    tokenizer.load(folder)
    return tokenizer
