"""The plugin of the tests, `letters`, installed for the modules that ask for it, and untrained models of its tasks.

This file imports no torch, so that tests which need none stay quick.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from anyformer import plugins

if TYPE_CHECKING:
    from anyformer.artifact import Artifact

LETTERS = Path(__file__).parent / "letters"


@pytest.fixture(scope="session")
def letters_folder() -> Path:
    """Where it is installed: a folder for the path of another process."""
    return LETTERS


@pytest.fixture(scope="module")
def letters(letters_folder: Path) -> Iterator[ModuleType]:
    """The plugin's page, with the plugin installed while the module runs."""
    sys.path.insert(0, str(letters_folder))
    plugins.reload()
    import anyformer_letters

    yield anyformer_letters
    sys.path.remove(str(letters_folder))
    plugins.reload()


@pytest.fixture(scope="module")
def new_letters_model(letters: ModuleType) -> Callable[..., Artifact]:
    """A function for an untrained model of a task, `new_letters_model("richest", "trunk.encoder.depth=1")`."""
    from anyformer.train.prepare import new_model, new_task, task_settings

    def make(name: str, *overrides: str, rows: Sequence[Any] | None = None) -> Artifact:
        kind = plugins.task(f"letters/{name}")
        settings = task_settings(kind, [], overrides)
        bound = new_task(kind, settings, letters.words(12) if rows is None else rows, None)
        return new_model({f"letters/{name}": bound}, settings, None)[0]

    return make


@pytest.fixture(scope="module")
def saved(new_letters_model: Callable[..., Artifact], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a saved model of `letters/richest`."""
    from anyformer import artifact

    folder = tmp_path_factory.mktemp("models") / "model"
    made = new_letters_model("richest")
    made.info["evaluation"] = {"scores": {}}
    artifact.save(made, folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    shutil.copytree(saved, tmp_path / "model")
    return tmp_path / "model"
