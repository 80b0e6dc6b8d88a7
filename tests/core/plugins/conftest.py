"""Plugins written on the fly: an empty place to install them, and the questions every test asks."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from anyformer import plugins


@pytest.fixture(scope="session")
def build() -> SimpleNamespace:
    """The builder of distributions, `tests/core/broken/build.py`."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "broken" / "build.py")))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder on the path, an empty user configuration."""
    monkeypatch.setenv("ANYFORMER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ANYFORMER_PLUGINS", raising=False)
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    plugins.reload()
    yield folder
    plugins.reload()
    for name in [name for name in sys.modules if name.startswith("fake_")]:
        del sys.modules[name]


@pytest.fixture
def install(build: SimpleNamespace, site: Path) -> Callable[..., str]:
    """A function that installs a distribution with one plugin, by its domain and its page."""

    def install(domain: str, code: str, **settings: Any) -> str:
        module: str = build.distribution(site, f"anyformer-{domain}", domain, code, **settings)
        plugins.reload()
        return module

    return install


@pytest.fixture
def status() -> Callable[[str], plugins.PluginStatus]:
    """A function from a domain to its line of `anyformer plugins`."""

    def status(domain: str) -> plugins.PluginStatus:
        (one,) = [one for one in plugins.plugins() if one.name == domain]
        return one

    return status


@pytest.fixture
def message() -> Callable[[Callable[[], Any]], str]:
    """A function from a call to its error, which is one line."""

    def message(call: Callable[[], Any]) -> str:
        with pytest.raises(ValueError) as raised:  # noqa: PT011 - the tests look at the message
            call()
        assert "\n" not in str(raised.value)
        return str(raised.value)

    return message
