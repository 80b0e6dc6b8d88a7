"""Where a task or a tokenizer lives: what a plugin's page lists. This module imports nothing, so that listing is instant."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TaskSpec:
    """Where a task lives and what it does, in one line; the target is imported when the task is used, not when listed.

    >>> TaskSpec("anyformer_weather.rain:RainTomorrow", "how much rain falls tomorrow, as quantiles")
    """

    target: str
    """Lazy reference to the class, `"package.module:Class"`."""
    summary: str
    """From what to what, in one line."""


@dataclass(frozen=True)
class TokenizerSpec:
    """Where a tokenizer lives and what it does, so that `pretrain(tokenizer="weather/codes")` finds it."""

    target: str
    summary: str
