from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import nn

import anyformer.heads
import anyformer.nn
from anyformer.heads import Classifier
from anyformer.nn import Pack, Part, Stream
from anyformer.nn.attend import attend
from anyformer.nn.attention import Attention
from anyformer.nn.embedding import StreamEmbedding

MODULES = [
    importlib.import_module(f"{package.__name__}.{found.name}")
    for package in (anyformer.nn, anyformer.heads)
    for found in pkgutil.iter_modules(package.__path__)
]


def test_a_wrong_shape_is_a_type_error() -> None:
    pack = Pack.of([2, 3])
    attention = Attention(8, num_heads=2, num_key_value_heads=2, head_width=4)
    with pytest.raises(TypeCheckError, match="parameter 'position_TD'"):
        attention(torch.zeros(5, 8), pack, None, torch.zeros(4, 8))
    with pytest.raises(TypeCheckError, match="parameter 'v_SKE'"):
        attend(torch.zeros(5, 2, 4), torch.zeros(5, 1, 4), torch.zeros(5, 2, 4), pack.bounds, pack.bounds)
    with pytest.raises(TypeCheckError, match="parameter 'x_TD'"):
        Stream(torch.zeros(5, 8, dtype=torch.int64), pack)
    with pytest.raises(TypeCheckError, match="parameter 'parts'"):
        StreamEmbedding({})({"source": torch.zeros(5)})
    labels = Part(torch.zeros(3, dtype=torch.int64), Pack.of([1, 1, 1]))
    with pytest.raises(TypeCheckError, match="parameter 'labels_N'"):
        Classifier(8, num_labels=2).loss({"source": Stream(torch.zeros(5, 8), pack)}, {"label": labels})


def test_checks_can_be_switched_off(unchecked: None) -> None:
    Stream(torch.zeros(5, 8, dtype=torch.int64), Pack.of([2, 3]))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_stated_shape_resolves(module: ModuleType) -> None:
    """The checker takes an annotation whose names it cannot find for `Any`, without a word."""
    for owner in _annotated(module):
        for name, annotation in owner.__annotations__.items():
            if any(word in str(annotation) for word in ("Tensor", "Parts", "Stream")):
                alone = type("Alone", (), {"__annotations__": {name: annotation}})
                assert typing.get_type_hints(alone, vars(module), vars(module)), (owner, name)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_forward_states_its_shapes(module: ModuleType) -> None:
    for _, owner in inspect.getmembers(module, inspect.isclass):
        if issubclass(owner, nn.Module) and "forward" in vars(owner):
            bare = {name for name, text in owner.forward.__annotations__.items() if text in ("Tensor", "Tensor | None")}
            assert not bare, f"{owner.__qualname__}.forward states no shape for {', '.join(bare)}"


def test_one_thread_and_real_data_beside_the_repository(shared: Path) -> None:
    assert torch.get_num_threads() == int(os.environ["OMP_NUM_THREADS"])
    assert (shared / "data").is_dir()


def _annotated(module: ModuleType) -> Iterator[Callable[..., Any] | type]:
    """Functions, classes, methods and properties that the module defines."""
    for _, found in inspect.getmembers(module):
        if getattr(found, "__module__", None) != module.__name__ or not hasattr(found, "__annotations__"):
            continue
        yield found
        for member in vars(found).values() if inspect.isclass(found) else ():
            function = getattr(member, "fget", None) or getattr(member, "func", None) or member
            if inspect.isfunction(function):
                yield function
