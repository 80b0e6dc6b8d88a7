"""Heads that two or more domains share. Names are loaded when they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyformer.lazy import load

if TYPE_CHECKING:
    from anyformer.heads.classifier import Classifier, TokenClassifier
    from anyformer.heads.language import LanguageModel
    from anyformer.heads.quantile import Quantile

_NAMES = {
    "classifier": ("Classifier", "TokenClassifier"),
    "language": ("LanguageModel",),
    "quantile": ("Quantile",),
}
__all__ = ["Classifier", "LanguageModel", "Quantile", "TokenClassifier"]


def __getattr__(name: str) -> Any:
    return load(__name__, _NAMES, name)
