"""What a run starts from: nothing, a preset, a model, or the trunk of another domain's model.

* A model gives its trunk, its tokenizers where the task reads the same kind of raw data, and embedding and head where they
  fit. Written `trunk=FOLDER`, only the trunk is taken: embedding and head are new, whatever the domain.
* A stack that was trained to read left to right can be used in both directions, and the reverse; the run says so.
* Of a model of several tasks, a task that needs one half of the trunk takes that half alone.
* The blocks of a trunk that is taken over stay what they are. What the embedding makes (its positions, segments and norm)
  and what matters in training alone (dropout) may be set anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from anyformer import plugins
from anyformer.artifact import Artifact, half_of, tokenizers_of
from anyformer.nn import Model, config
from anyformer.nn import Trunk as TrunkModule
from anyformer.preset import Preset, settings_of, trunk_of
from anyformer.settings import merge
from anyformer.task import Objective, Task, Tokenizer, resolve

Kind = type[Task[Any, Any, Any]] | type[Objective]
Half = Literal["encoder", "decoder", "both"]
HALVES = ("encoder", "decoder")
FREE = ("embedding", "dropout", "stochastic_depth")
"""Settings of a stack that may change when its blocks are taken over."""
IN_EMBEDDING = ("learned", "sinusoidal")
"""Kinds of positions that the embedding adds."""
ROOM = 2048
"""Rows of a learned table of positions at least, where the embedding is new."""


@dataclass(frozen=True)
class Asked:
    """Settings as the user gave them, and the model whose trunk alone is wanted."""

    layers: Sequence[Mapping[str, Any]]
    overrides: Sequence[str]
    trunk_of: str | None


@dataclass
class Beginning:
    """What a run starts from."""

    artifact: Artifact | None = None
    trunk: config.Trunk | None = None
    """Settled by the model or the preset; None: the task's default."""
    layers: list[Mapping[str, Any]] = field(default_factory=list)
    """Settings that come with it, below the user's own."""
    said: list[str] = field(default_factory=list)
    """What a person should know of it."""


def asked(layers: Sequence[Mapping[str, Any]], overrides: Sequence[str]) -> Asked:
    """Take `trunk=FOLDER` out of the settings."""
    found = merge(*layers, overrides=overrides).get("trunk")
    if not isinstance(found, str):
        return Asked(list(layers), list(overrides), None)
    kept = [
        {key: value for key, value in layer.items() if key != "trunk" or not isinstance(value, str)} for layer in layers
    ]
    return Asked(kept, [one for one in overrides if not one.startswith("trunk=")], found)


def beginning(
    id: str, kind: Kind, start: Artifact | None, preset: str | None, trunk: Artifact | None, given: Asked,
    needs: Half | None = None,
) -> Beginning:  # fmt: skip
    """Settle what the run of a task, or of an objective, starts from.

    `needs` is what the run needs of the trunk, where others learn beside it; None: what the task needs.

    Raises `ValueError` if more than one of a model, a preset and a trunk is given.
    """
    if sum(one is not None for one in (start, preset, trunk)) > 1:
        raise ValueError(
            "give a model to start from, a preset, or trunk=FOLDER, and not two of them: each decides the trunk"
        )
    needs = needs or kind.trunk
    if preset is not None:
        found: Preset | config.Trunk = plugins.preset(preset)()
        return Beginning(None, trunk_of(found), [settings_of(found, id)])
    if start is not None:
        adapted, said = _with_halves(start, needs)
        tuning = [kind.default_tuning] if issubclass(kind, Task) else []
        layers = [*tuning, *_inherited(id, kind, start, given), *_configured(id, kind, start)]
        return Beginning(adapted, adapted.trunk, layers, said)
    if trunk is not None:
        adapted, said = _with_halves(trunk, needs)
        settings = _without_embedding(adapted.trunk)
        alone = Artifact(Model(adapted.model.trunk, {}), settings)
        return Beginning(alone, settings, [], [f"trunk: sha256 {fingerprint(alone.model.trunk)}", *said])
    return Beginning()


def check_trunk(id: str, needs: str, trunk: config.Trunk, start: Artifact | None) -> None:
    """Raise `ValueError` if the trunk lacks a half that the task needs, or its blocks are not those of the start."""
    for half in HALVES:
        if needs in (half, "both") and getattr(trunk, half) is None:
            raise ValueError(f"{id} needs a trunk with {'an' if half == 'encoder' else 'a'} {half}; this one has none")
    if needs == "decoder" and trunk.decoder is not None and trunk.decoder.cross:
        raise ValueError(
            f"{id} has no encoder for the decoder's cross-attention to read; set trunk.decoder.cross to false"
        )
    if start is not None and _blocks(start.trunk) != _blocks(trunk):
        raise ValueError(
            "the blocks of the model to start from cannot be changed; leave out the settings under trunk, but for dropout"
        )


def fingerprint(module: nn.Module) -> str:
    """SHA-256 of a module's weights in order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _with_halves(start: Artifact, needs: Half) -> tuple[Artifact, list[str]]:
    """The model with its only stack as the half that is needed, and a line where the direction changes; a model of several
    tasks with the half that is needed alone."""
    trunk, module = start.trunk, start.model.trunk
    if len(start.model.components) > 1 and (alone := half_of(trunk, needs)) != trunk:
        moved = TrunkModule(**{half: getattr(module, half) if getattr(alone, half) else None for half in HALVES})
        return _moved(start, moved, alone), []
    have, lack = ("decoder", "encoder") if needs == "encoder" else ("encoder", "decoder")
    stack = getattr(trunk, have)
    if needs == "both" or getattr(trunk, lack) is not None or stack is None or stack.cross:
        return start, []
    causal = lack == "decoder"
    changed = config.Trunk(**{lack: stack.model_copy(update={"causal": causal})})
    moved = TrunkModule(**{lack: getattr(module, have), have: None})
    said = []
    if stack.causal != causal:
        ways = ("left to right", "in both directions")
        said = [f"trunk: was trained to read {ways[not stack.causal]}, and is now used {ways[not causal]}"]
    return _moved(start, moved, changed), said


def _moved(start: Artifact, module: TrunkModule, trunk: config.Trunk) -> Artifact:
    """The model with another trunk."""
    model = Model(module, {})
    model.components = start.model.components
    return Artifact(model, trunk, start.info)


def _inherited(id: str, kind: Kind, start: Artifact, given: Asked) -> list[Mapping[str, Any]]:
    """The start's tokenizers as settings, for each of the task's that reads the same kind of raw data."""
    if not issubclass(kind, Task):
        return []
    chosen = merge(*given.layers, overrides=given.overrides).get("tokenizers")
    chosen = chosen if isinstance(chosen, Mapping) else {}
    namesake_first = sorted(start.model.components, key=lambda other: other != id)
    there = [one for other in namesake_first for one in tokenizers_of(start.model[other].task).values()]
    found = {}
    for name, reference in kind.tokenizers.items():
        entry = chosen.get(name)
        own = next((one for one in there if _kin(resolve(reference), type(one))), None)
        if own is not None and own.registered_id is not None and not (isinstance(entry, Mapping) and "id" in entry):
            found[name] = {"id": own.registered_id, **own.config.model_dump()}
    return [{"tokenizers": found}] if found else []


def _configured(id: str, kind: Kind, start: Artifact) -> list[Mapping[str, Any]]:
    """The start's configuration of the same task, so that its head fits; of another task, what its embedding needs."""
    if not issubclass(kind, Task):
        return []
    if id in start.model.components:
        return [{"config": start.model[id].task.config.model_dump()}]
    names = kind.embedded_by
    for other in start.model.components:
        task = start.model[other].task
        if names and isinstance(task, Task) and task.embedded_by == names:
            return [{"config": task.config.model_dump(include=set(names))}]
    return []


def _kin(wanted: type[Tokenizer], there: type[Tokenizer]) -> bool:
    """Whether two tokenizers read the same kind of raw data: they share a class below `Tokenizer` itself."""
    shared = set(wanted.__mro__) & set(there.__mro__)
    return any(one is not Tokenizer and issubclass(one, Tokenizer) for one in shared)


def _without_embedding(trunk: config.Trunk) -> config.Trunk:
    """The trunk with the settings of a new embedding: the norm stays, since the first block reads what it makes."""
    halves = {}
    for half in ("encoder", "decoder"):
        stack: config.Stack | None = getattr(trunk, half)
        if stack is not None:
            position = stack.position
            if position.kind in IN_EMBEDDING:
                position = position.model_copy(update={"offset": 0, "length": max(position.length, ROOM)})
            embedding = config.Embedding(norm=stack.embedding.norm)
            stack = stack.model_copy(update={"embedding": embedding, "position": position})
        halves[half] = stack
    return config.Trunk(**halves)


def _blocks(trunk: config.Trunk) -> dict[str, Any]:
    """What decides the blocks, without what the embedding makes and what matters in training alone."""
    halves = {}
    for half, stack in trunk.model_dump().items():
        if stack is not None:
            stack = _without_free(stack)
            if stack["position"]["kind"] in IN_EMBEDDING:
                stack["position"] = None
        halves[half] = stack
    return halves


def _without_free(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_free(value) if isinstance(value, Mapping) else value
        for name, value in settings.items()
        if name not in FREE
    }
