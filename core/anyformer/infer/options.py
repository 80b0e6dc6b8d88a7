"""Options that generating tasks share. This module imports no torch."""

from __future__ import annotations

from pydantic import Field

from anyformer.task import Frozen


class Generation(Frozen):
    """How a decoder writes an answer."""

    max_new_tokens: int = Field(default=128, ge=1, le=100_000)
    """Tokens at most; a sample may set a lower bound of its own in its notes."""
