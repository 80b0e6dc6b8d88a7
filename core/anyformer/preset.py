"""Presets: named configurations of whole models, and how many parameters they have.

A preset says what a paper's model is: the trunk, and, where its published size is to be checked, the task, its configuration
and a tokenizer of the published vocabulary. Training takes the trunk and, for the same task, the configuration; tokenizers
are learned from the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyformer import plugins
from anyformer.description import validated
from anyformer.nn.config import Trunk
from anyformer.task import Frozen


class Preset(Frozen):
    """A whole model by configuration."""

    trunk: Trunk
    task: str
    """Id of the task that the published model is made for."""
    config: dict[str, Any] = {}
    """Fields of the task's configuration."""
    also: dict[str, dict[str, Any]] = {}
    """Tasks whose heads the published model has beside it, on the same embedding: the fields of their configurations, by id.
    They count as its parameters; training takes nothing from them."""
    state: dict[str, Any] = {}
    """What the tasks would have learned from data: `labels`."""
    tokenizer: str
    """Id of a tokenizer that can have the published size."""
    tokenizer_config: dict[str, Any] = {}
    """Fields of its configuration."""


def trunk_of(preset: Preset | Trunk) -> Trunk:
    """The trunk of a preset, which may be a trunk alone."""
    return preset.trunk if isinstance(preset, Preset) else preset


def count(preset: Preset | Trunk) -> int:
    """Parameters of the whole model, or of a trunk that stands alone; builds on the meta device, in no memory.

    A tied weight counts once, a buffer not at all.
    """
    from torch import nn

    from anyformer.artifact import build_model
    from anyformer.nn import build
    from anyformer.nn.weightless import weightless

    with weightless():
        if isinstance(preset, Trunk):
            whole: nn.Module = build.trunk(preset)
        else:
            model = build_model(preset.trunk, {preset.task: bound(preset, preset.task, preset.config)})
            heads = [bound(preset, id, config).head(preset.trunk) for id, config in preset.also.items()]
            for head in heads:
                head.tie(model[preset.task].embedding)
            whole = nn.ModuleList([model, *heads])
    return sum(parameter.numel() for parameter in whole.parameters())


def bound(preset: Preset, id: str, config: Mapping[str, Any]) -> Any:
    """One of the preset's tasks, bound to its configuration and to the preset's tokenizer and state."""
    task = plugins.task(id)
    kind = plugins.tokenizer(preset.tokenizer)
    tokenizer = kind(validated(kind.Config, preset.tokenizer_config, preset.tokenizer))
    return task(validated(task.Config, config, id), dict.fromkeys(task.tokenizers, tokenizer), preset.state)


def settings_of(preset: Preset | Trunk, task: str) -> Mapping[str, Any]:
    """What training `task` takes from a preset beside its trunk."""
    return {"config": preset.config} if isinstance(preset, Preset) and preset.task == task else {}
