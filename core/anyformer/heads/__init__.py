"""Heads that two or more domains share. Names are loaded when they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyformer.lazy import load

if TYPE_CHECKING:
    from anyformer.heads.classifier import Classifier, TokenClassifier
    from anyformer.heads.language import LanguageModel
    from anyformer.heads.multi_label import MultiLabel
    from anyformer.heads.patches import HiddenPatches
    from anyformer.heads.pooled import Pooled
    from anyformer.heads.quantile import Quantile
    from anyformer.heads.regression import Regression
    from anyformer.heads.sequence import SequenceHead
    from anyformer.heads.span import Span

_NAMES = {
    "classifier": ("Classifier", "TokenClassifier"),
    "language": ("LanguageModel",),
    "multi_label": ("MultiLabel",),
    "patches": ("HiddenPatches",),
    "pooled": ("Pooled",),
    "quantile": ("Quantile",),
    "regression": ("Regression",),
    "sequence": ("SequenceHead",),
    "span": ("Span",),
}
__all__ = [
    "Classifier",
    "HiddenPatches",
    "LanguageModel",
    "MultiLabel",
    "Pooled",
    "Quantile",
    "Regression",
    "SequenceHead",
    "Span",
    "TokenClassifier",
]


def __getattr__(name: str) -> Any:
    return load(__name__, _NAMES, name)
