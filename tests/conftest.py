"""What all tests share: checked shapes, one thread, random weights worth comparing, real data where it exists.

* Every function of `anyformer.nn` and `anyformer.heads` is wrapped before it is imported, so that the shapes its
  annotations state are checked at every call of the test run; `core/nn/test_shapes.py` proves that they are.
* This file imports no torch, so that tests which need none stay quick.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import jaxtyping
import pytest

if TYPE_CHECKING:
    from torch import Tensor, nn

# Read when torch is loaded, by this process and by those that tests start: with one count of threads, sums are the same.
os.environ.setdefault("OMP_NUM_THREADS", "1")

CHECKED = ("anyformer.nn", "anyformer.heads")
assert not [name for name in sys.modules if name.startswith(CHECKED)], "imported too early to be checked"
jaxtyping.install_import_hook(CHECKED, "beartype.beartype")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the repository; a test that asks for it is skipped where there is none."""
    found = Path(__file__).resolve().parents[2] / "shared"
    if not found.is_dir():
        pytest.skip("needs the folder of real data, ../shared beside the repository")
    return found


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes the shape checks off for one test that compiles: the compiler would trace them, and cannot."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    for module in [module for name, module in sys.modules.items() if name.startswith(CHECKED)]:
        for owner in [module, *(found for _, found in inspect.getmembers(module, inspect.isclass))]:
            for name, member in list(vars(owner).items()):
                if inspect.isfunction(member) and hasattr(member, "__wrapped__"):
                    monkeypatch.setattr(owner, name, member.__wrapped__)
                elif isinstance(member, property) and hasattr(member.fget, "__wrapped__"):
                    monkeypatch.setattr(owner, name, property(member.fget.__wrapped__))


@pytest.fixture(scope="session")
def unit_scale() -> Callable[..., None]:
    """A function that draws all weights of a module so that each of them matters, biases and norms included.

    New modules have zero biases and norms of one, and their softmax is almost flat: much can be wrong in them unseen.
    """

    def draw(module: nn.Module, seed: int = 0) -> None:
        import torch

        generator = torch.Generator().manual_seed(seed)
        for parameter in module.parameters():
            fan_in = parameter.shape[-1] if parameter.ndim > 1 else 1
            drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / fan_in**0.5
            parameter.data.copy_(drawn)

    return draw


@pytest.fixture(scope="session")
def relative() -> Callable[[Tensor, Tensor], float]:
    """A function for the relative error of a tensor: the greatest difference over the greatest true magnitude."""

    def error(found: Tensor, true: Tensor) -> float:
        assert found.shape == true.shape
        return float(((found - true).abs().max() / true.abs().max()).detach())

    return error
