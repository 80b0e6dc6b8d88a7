"""From inputs to answers: solvers, generation, pipelines, evaluation. Names are loaded when they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyformer.lazy import load

if TYPE_CHECKING:
    from anyformer.infer.evaluate import evaluate
    from anyformer.infer.options import Generation
    from anyformer.infer.pipeline import Pipeline

_NAMES = {"evaluate": ("evaluate",), "options": ("Generation",), "pipeline": ("Pipeline",)}
__all__ = ["Generation", "Pipeline", "evaluate"]


def __getattr__(name: str) -> Any:
    return load(__name__, _NAMES, name)
