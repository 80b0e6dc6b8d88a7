"""anyformer: one Transformer, any domain.

`import anyformer` imports no torch: names are loaded when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyformer.lazy import load as _load

if TYPE_CHECKING:
    from anyformer.api import evaluate, export, finetune, load, pipeline, pretrain, resume, verify_resume
    from anyformer.hookspecs import hookimpl
    from anyformer.media import Image
    from anyformer.specs import TaskSpec, TokenizerSpec
    from anyformer.task import Data, Demo, Frozen, Metric, Objective, Prediction, Record, Sample, Task, Tokenizer

_NAMES = {
    "api": ("evaluate", "export", "finetune", "load", "pipeline", "pretrain", "resume", "verify_resume"),
    "hookspecs": ("hookimpl",),
    "media": ("Image",),
    "specs": ("TaskSpec", "TokenizerSpec"),
    "task": ("Data", "Demo", "Frozen", "Metric", "Objective", "Prediction", "Record", "Sample", "Task", "Tokenizer"),
}
__all__ = [
    "Data", "Demo", "Frozen", "Image", "Metric", "Objective", "Prediction", "Record", "Sample", "Task", "TaskSpec",
    "Tokenizer", "TokenizerSpec", "evaluate", "export", "finetune", "hookimpl", "load", "pipeline", "pretrain", "resume",
    "verify_resume",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    return _load(__name__, _NAMES, name)
