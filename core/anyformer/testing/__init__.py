"""The contract that every task keeps, as a pytest plugin for the authors of plugins.

One line in the top `conftest.py` of a plugin's tests runs it for every task of every installed plugin:

    pytest_plugins = ["anyformer.testing"]

* The tests are collected from the file that holds this line: `pytest tests/conftest.py -k resume`.
* pytest takes the line in a top `conftest.py` only; one further down says `from anyformer.testing import *`.
* `--anyformer-domains weather`, or `anyformer_domains = weather` in pytest's ini file, leaves the other plugins out.
* A task brings its own data, `Task.examples()`; its trunk is made small, and nothing is downloaded.
* Reading order: `contract` (the tests), `subject` (a task made small enough to train in a second), `cutoff` (who may know
  what), `elsewhere` (another process), `compare`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

__all__ = ["pytest_addoption", "pytest_collect_file"]

OPTION = "anyformer_domains"
PARTS = tuple(f"{__name__}.contract.{part}" for part in ("data", "learning", "answers"))
"""Modules of tests."""

pytest.register_assert_rewrite(*PARTS)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which plugins the contract is run for."""
    about = "domains whose tasks are held to the contract, separated by commas; default: all that are installed"
    parser.addoption("--anyformer-domains", dest=OPTION, default=None, metavar="NAMES", help=about)
    parser.addini(OPTION, about, default="")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the contract from a conftest.py that asks for it."""
    conftest = parent.config.pluginmanager.get_plugin(str(file_path))
    named = __name__ in getattr(conftest, "pytest_plugins", ())
    starred = getattr(conftest, "pytest_collect_file", None) is pytest_collect_file
    return _Contract.from_parent(parent, path=file_path) if named or starred else None


class _Contract(pytest.File):
    """The file that asked for the contract: what it collects are the parts of the contract."""

    def collect(self) -> Iterator[pytest.Collector]:
        for part in PARTS:
            name = part.rpartition(".")[2]
            yield _Part.from_parent(self, path=self.path, name=name, nodeid=f"{self.nodeid}::{name}")


class _Part(pytest.Module):
    """A module of tests, under the path of the file that asked for it."""

    def _getobj(self) -> ModuleType:
        return importlib.import_module(f"{__name__}.contract.{self.name}")
