"""The plugin of the tests, `letters`, installed for the modules that ask for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from anyformer import plugins

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
