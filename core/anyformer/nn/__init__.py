"""The Transformer: the only place where attention is written. Read `pack`, `attend`, `attention`, `trunk`, `model`.

Names are loaded when they are used, so that `anyformer.nn.config` can be read without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyformer.lazy import load

if TYPE_CHECKING:
    from anyformer.nn.cache import Cache, Memory
    from anyformer.nn.model import Component, Embedding, Head, Model
    from anyformer.nn.pack import Pack, Part, Parts, Stream, Streams
    from anyformer.nn.trunk import Stack, Trunk

_NAMES = {
    "pack": ("Pack", "Part", "Parts", "Stream", "Streams"),
    "cache": ("Cache", "Memory"),
    "model": ("Component", "Embedding", "Head", "Model"),
    "trunk": ("Stack", "Trunk"),
}
__all__ = [
    "Cache", "Component", "Embedding", "Head", "Memory", "Model", "Pack", "Part", "Parts", "Stack", "Stream", "Streams",
    "Trunk",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    return load(__name__, _NAMES, name)
