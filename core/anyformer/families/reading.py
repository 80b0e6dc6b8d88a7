"""From a checkpoint folder to a model: read the configuration, build without memory, compare with the file, fill.

* The model is built on the meta device and its shapes are compared with the file's header first: a configuration that lies
  about its sizes costs nothing.
* Each weight of the file is used, kept for the way back, or named in an error; so is each of the model's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anyformer import plugins
from anyformer.artifact import Artifact, build_model
from anyformer.description import validated
from anyformer.families import family as families
from anyformer.families import fields, files
from anyformer.families.family import Architecture, Family
from anyformer.families.steps import Step
from anyformer.hints import listed
from anyformer.nn import Model, config
from anyformer.nn.weightless import weightless
from anyformer.task import Task


@dataclass(frozen=True)
class Origin:
    """Where a model came from: what an export needs to write the same files again."""

    family: str
    """Its id."""
    architecture: str
    """Class name."""
    prefix: str
    """What stands before the body's keys."""
    config: dict[str, Any]
    """The file's `config.json`."""
    weights: dict[str, tuple[str, str]]
    """For each key of the file, the key as the table writes it, and its type."""


def read(folder: Path, task: str | None = None, device: str | torch.device = "cpu") -> Artifact:
    """A checkpoint folder as a model with one component, in fp32 (fp64 weights stay so), ready to answer.

    Args:
        folder: with `config.json` and safetensors.
        task: id of the task to serve; None: the one that the file's architecture is made for.
        device: where the weights go.

    Raises `ValueError` in one line: an unknown architecture, a setting that is not supported, a weight that is missing,
    unknown or of another shape, a pickle.
    """
    given = files.read_config(folder)
    id, family = families.choose(plugins.families(), given)
    theirs = {**family.assumed, **given, **files.read_generation(folder, family.generation)}
    where = f"{folder / files.CONFIG} ({id})"
    try:
        name, own = family.architecture(_class_name(given), theirs)
        with files.open_weights(folder) as weights:
            source = _Source(family, theirs, weights, own)
            serving = own if task in (None, own.task) else source.for_task(name, task)
            ours = fields.read([*family.fields, *serving.fields], theirs)
            model, trunk = _build(folder, family, serving, ours, theirs)
            kept = source.fill(model, serving, device)
            origin = Origin(id, name, source.prefix, given, source.spelling)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        # A value of the wrong kind shows itself wherever it is first used.
        said = str(error) if isinstance(error, ValueError) else f"a value is not what it should be: {error!r}"
        raise ValueError(said if said.startswith(str(folder)) else f"{where}: {said}") from None
    return Artifact(model.eval(), trunk, {"origin": vars(origin)}, kept)


def _class_name(given: Mapping[str, Any]) -> str | None:
    named = given.get("architectures")
    if named is None or named == []:
        return None
    if not isinstance(named, list) or not isinstance(named[0], str):
        raise ValueError(f"'architectures' is {named!r}; it must be a list of class names")
    return named[0]


def _build(
    folder: Path, family: Family, serving: Architecture, ours: fields.Ours, theirs: fields.Theirs
) -> tuple[Model, config.Trunk]:
    """The model on the meta device."""
    trunk = validated(config.Trunk, ours["trunk"], "trunk")
    task: type[Task[Any, Any, Any]] = plugins.task(serving.task)
    settings = validated(task.Config, ours["config"], "task")
    tokenizer = plugins.tokenizer(family.tokenizer).read(folder, theirs)
    tokenizer.registered_id = family.tokenizer
    bound = task(settings, dict.fromkeys(task.tokenizers, tokenizer), ours["state"])
    try:
        with weightless():
            return build_model(trunk, {serving.task: bound}), trunk
    except RuntimeError as error:
        raise ValueError(f"a model of these sizes cannot be built: {str(error).splitlines()[0]}") from None


class _Source:
    """The weights of a file, under the names that the family's tables use."""

    def __init__(self, family: Family, theirs: fields.Theirs, weights: files.Weights, own: Architecture) -> None:
        self.family, self.theirs, self.weights = family, theirs, weights
        self.key_of: dict[str, str] = {}
        for key in weights:
            other = self.key_of.setdefault(_now(key, family.aliases), key)
            if other != key:
                raise ValueError(f"{weights.folder} has one weight twice, as {other!r} and {key!r}")
        self.prefix = family.prefix if own.prefixed else ""
        swapped = "" if self.prefix else family.prefix
        if swapped != self.prefix and not self._has_body(self.prefix) and self._has_body(swapped):
            self.prefix = swapped  # a bare model's file under its class with a head, or the reverse

    @property
    def spelling(self) -> dict[str, tuple[str, str]]:
        """For each key of the file: the table's key, and the type."""
        return {key: (now, self.weights.dtype(key)) for now, key in self.key_of.items()}

    def for_task(self, name: str, task: str | None) -> Architecture:
        """The architecture that serves a task from this file. Raises `ValueError` where its weights are not there."""
        served: dict[str, Architecture] = {}
        for _, other in self.family.served():
            steps = families.whole_table(self.family, other, self.theirs, self.prefix)
            there = all(key in self.key_of for step in steps if step.kind == "weight" for key in step.theirs)
            if there and other.when(self.theirs):
                served.setdefault(other.task, other)
        if task not in served:
            raise ValueError(
                f"this {name} serves {', '.join(served) or 'no task'}, not {task}; to train it for that: "
                f"anyformer finetune {task} --model {self.weights.folder}"
            )
        return served[task]

    def fill(self, model: Model, serving: Architecture, device: str | torch.device) -> dict[str, Tensor]:
        """Put the file's weights in place of the model's; returns those that are kept for the way back."""
        component = next(iter(model.components))
        own = model.state_dict(keep_vars=True)
        names = _same_tensor(own)
        filled: dict[str, Tensor] = {}
        used: set[str] = set()
        steps = families.whole_table(self.family, serving, self.theirs, self.prefix)
        for step in steps:
            ours = [full_name(name, component) for name in step.ours]
            if unknown := [name for name in ours if name not in own]:
                raise ValueError(
                    f"its settings give the model no {unknown[0]!r}, which {step.theirs[0]!r} is read into"
                )
            if step.kind == "weight":
                for name, tensor in zip(ours, self._read(step, [own[name] for name in ours]), strict=True):
                    parameter = own[name]
                    placed = tensor.to(device).contiguous()
                    if isinstance(parameter, nn.Parameter):
                        placed = nn.Parameter(placed)
                    filled |= dict.fromkeys(names[id(parameter)], placed)
                used.update(step.theirs)
        if lacking := [name for name in own if name not in filled]:
            raise ValueError(f"its settings give the model a weight {lacking[0]!r}, which this layout has not")
        model.load_state_dict(filled, assign=True)
        used |= self._check_copies(steps, filled, component)
        return self._kept(used)

    def _read(self, step: Step, own: Sequence[Tensor]) -> Sequence[Tensor]:
        expected = step.write([torch.empty(tensor.shape, dtype=tensor.dtype, device="meta") for tensor in own])
        found = []
        for key, like in zip(step.theirs, expected, strict=True):
            if key not in self.key_of:
                raise ValueError(f"{self.weights.folder} lacks the weight {key!r}{self._near(key)}")
            real = self.key_of[key]
            shape, dtype = self.weights.shape(real), self.weights.dtype(real)
            if shape != list(like.shape):
                raise ValueError(
                    f"{self.weights.folder}: {real!r} has shape {shape}; the configuration asks for {list(like.shape)}"
                )
            if like.is_floating_point() and dtype not in files.FLOATS:
                raise ValueError(
                    f"{self.weights.folder}: {real!r} has numbers of type {dtype}; read: {', '.join(files.FLOATS)}"
                )
            tensor = self.weights.read(real)
            found.append(tensor.float() if dtype in ("F16", "BF16") else tensor)
        return step.read(found)

    def _check_copies(self, steps: Sequence[Step], filled: Mapping[str, Tensor], component: str) -> set[str]:
        """The keys of tied weights and constants that the file has; raises `ValueError` for one with a value of its own."""
        used: set[str] = set()
        for step in steps:
            if step.kind not in ("tied", "constant"):
                continue
            own = [filled[full_name(name, component)] for name in step.ours]
            for key, expected in zip(step.theirs, step.write(own), strict=True):
                if key in self.key_of:
                    found = self.weights.read(self.key_of[key])
                    if found.shape != expected.shape or not _alike(found, expected.detach().cpu(), step.kind):
                        told = (
                            f"must equal {step.ours[0]}" if step.ours else "is not the constant that the model computes"
                        )
                        raise ValueError(f"{self.weights.folder}: {self.key_of[key]!r} {told}")
                    used.add(key)
        return used

    def _kept(self, used: set[str]) -> dict[str, Tensor]:
        known = {
            key
            for _, architecture in self.family.served()
            for step in families.whole_table(self.family, architecture, self.theirs, self.prefix)
            for key in step.theirs
        }
        kept = {}
        for now, key in self.key_of.items():
            if now not in used:
                if now not in known:
                    raise ValueError(f"{self.weights.folder} has the weight {key!r}, which this family does not know")
                kept[now] = self.weights.read(key)
        return kept

    def _has_body(self, prefix: str) -> bool:
        first = next(iter(self.family.weights(self.theirs)))
        return prefix + first.theirs[0] in self.key_of

    def _near(self, key: str) -> str:
        last = key.rpartition(".")[0].rpartition(".")[2]
        near = [real for real in self.weights if last and last in real][:3]
        return f"; it has {listed(near)}" if near else ""


def full_name(name: str, component: str) -> str:
    """A table's name of one of our weights as the model's state has it."""
    return name if name.startswith("trunk.") else f"components.{component}.{name}"


def _same_tensor(state: Mapping[str, Tensor]) -> dict[int, list[str]]:
    """Names of the state by the weight they share."""
    names: dict[int, list[str]] = {}
    for name, tensor in state.items():
        names.setdefault(id(tensor), []).append(name)
    return names


def _now(key: str, aliases: Sequence[tuple[str, str]]) -> str:
    for old, new in aliases:
        if key.endswith(old):
            return key.removesuffix(old) + new
    return key


def _alike(found: Tensor, expected: Tensor, kind: str) -> bool:
    if kind == "tied":
        return torch.equal(found.to(expected.dtype), expected)
    # A table of sines differs in the last bits from one library to the next.
    return torch.allclose(found.double(), expected.double(), rtol=0, atol=1e-5)
