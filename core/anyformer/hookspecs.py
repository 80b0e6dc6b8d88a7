"""What a plugin may add. A plugin is a distribution with an entry point in the group `anyformer`; the entry point's name
is its domain, and its object, usually a module, implements any of these hooks with `@hookimpl`.

Every hook returns things, keyed by name, and does nothing else. The core calls each plugin's hook by itself, so that one
plugin's failure is that plugin's alone. A name becomes an id with its domain: `rain-tomorrow` of the plugin `weather` is
`weather/rain-tomorrow`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from pathlib import Path

    from anyformer.families import Family
    from anyformer.specs import TaskSpec, TokenizerSpec

GROUP = "anyformer"
"""The entry-point group, and pluggy's project name."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def anyformer_tasks() -> Mapping[str, TaskSpec]:  # type: ignore[empty-body]
    """Tasks by name. Called once, when tasks are listed; a target is imported when its task is used."""


@hookspec
def anyformer_tokenizers() -> Mapping[str, TokenizerSpec]:  # type: ignore[empty-body]
    """Tokenizers by name, for `pretrain(tokenizer="domain/name")`. Called once, when tokenizers or plugins are listed, or
    one is looked up.
    """


@hookspec
def anyformer_families() -> Mapping[str, Family]:  # type: ignore[empty-body]
    """Checkpoint layouts of other libraries by name, as `anyformer.families` describes them. Called when a checkpoint folder
    is opened or written.
    """


@hookspec
def anyformer_presets() -> Mapping[str, Callable[[], Any]]:  # type: ignore[empty-body]
    """Named configurations, each a function that returns a `Preset` of a whole model, or a `Trunk`; the first line of its
    docstring says what it is. Called when a preset is looked up or listed.
    """


@hookspec
def anyformer_readers() -> Mapping[str, str]:  # type: ignore[empty-body]
    """File suffix (`.metar`) or format name (`stations`) to the lazy reference of a reader: a function
    `(path, columns) -> Sequence[Mapping]` that gives raw rows by random access. The key `folder/` reads a folder. Called
    once, when a file is opened or plugins are listed.
    """


@hookspec
def anyformer_run_started(run: Path, settings: Mapping[str, Any]) -> None:
    """A run begins or resumes in the folder `run`; on rank 0, before the first step."""


@hookspec
def anyformer_step_ended(run: Path, line: Mapping[str, Any]) -> None:
    """A step or an evaluation was logged; `line` is what `metrics.jsonl` got. On rank 0, after every line."""


@hookspec
def anyformer_checkpoint_saved(run: Path, checkpoint: Path) -> None:
    """A checkpoint is whole and on disk. On rank 0."""


@hookspec
def anyformer_run_ended(run: Path, reason: str) -> None:
    """The run stopped: `finished`, `interrupted`, or `failed`. On rank 0, after the last write."""


@hookspec
def anyformer_run_warned(run: Path, warning: str) -> None:
    """Something went on that a person should know: a damaged checkpoint was passed over. On rank 0."""
