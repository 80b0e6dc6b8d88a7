from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import anyformer_bio
from anyformer.task import resolve

HEAVY = ("torch", "Bio", "sklearn", "matplotlib", "pandas", "transformers", "timm")
PACKAGE = Path(anyformer_bio.__file__).parent


def test_no_module_imports_a_heavy_library() -> None:
    modules = ["anyformer_bio", *(f"anyformer_bio.{path.stem}" for path in sorted(PACKAGE.glob("[a-z]*.py")))]
    code = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        f"sys.exit(', '.join(name for name in {HEAVY!r} if name in sys.modules) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_target_resolves_and_stands_on_the_page() -> None:
    page = anyformer_bio.__doc__ or ""
    specs = {**anyformer_bio.anyformer_tasks(), **anyformer_bio.anyformer_tokenizers()}
    for name, spec in specs.items():
        assert isinstance(resolve(spec.target), type)
        assert f"bio/{name}" in page
    for name in anyformer_bio.anyformer_presets():
        assert f"bio/{name}" in page
    for suffix, target in anyformer_bio.anyformer_readers().items():
        assert callable(resolve(target))
        assert f"`{suffix}`" in page


@pytest.mark.parametrize(
    ("name", "width", "depth", "published"),
    [("esm2-8m", 320, 6, 7_512_474), ("esm2-35m", 480, 12, 33_501_394)],
)
def test_presets_have_the_published_count_of_weights(name: str, width: int, depth: int, published: int) -> None:
    """Less what stands around the trunk: 33 embedded letters, the tied head (dense, norm, bias), the contact regression."""
    import torch

    from anyformer.nn import build

    around = 33 * width + (width * width + width) + 2 * width + 33 + (depth * 20 + 1)
    with torch.device("meta"):
        trunk = build.trunk(anyformer_bio.anyformer_presets()[name]())
    assert sum(weight.numel() for weight in trunk.parameters()) == published - around
