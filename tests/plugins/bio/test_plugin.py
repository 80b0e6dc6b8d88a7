from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyformer_bio
from anyformer.task import resolve

HEAVY = ("torch", "Bio", "sklearn", "matplotlib", "pandas", "transformers", "timm")
PACKAGE = Path(anyformer_bio.__file__).parent
LAYOUTS = ("families",)
"""Layouts are imported when a checkpoint is opened, beside torch."""


def test_no_module_imports_a_heavy_library() -> None:
    names = (path.stem for path in sorted(PACKAGE.glob("[a-z]*.py")) if path.stem not in LAYOUTS)
    modules = ["anyformer_bio", *(f"anyformer_bio.{name}" for name in names)]
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
    assert "| bio/esm2-* " in page
    assert all(name.startswith("esm2-") for name in anyformer_bio.anyformer_presets())
    for suffix, target in anyformer_bio.anyformer_readers().items():
        assert callable(resolve(target))
        assert f"`{suffix}`" in page
