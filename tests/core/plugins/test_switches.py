"""What the user switches off, for good and for one call."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from anyformer import plugins


def test_disable_and_enable(
    install: Callable[..., str],
    site: Path,
    build: SimpleNamespace,
    status: Callable[..., Any],
    message: Callable[..., str],
) -> None:
    install("healthy", build.page() + build.ECHO)
    assert plugins.disable("healthy")
    assert not plugins.disable("healthy")
    assert status("healthy").state == "disabled"
    assert status("healthy").fix == "anyformer plugins enable healthy"
    assert "healthy/echo" not in plugins.tasks()
    assert json.loads((site.parent / "home" / "plugins.json").read_text()) == {"disabled": ["healthy"]}
    assert [path.name for path in (site.parent / "home").iterdir()] == ["plugins.json"]
    assert plugins.enable("healthy")
    assert not plugins.enable("healthy")
    assert status("healthy").state == "ok"
    assert "no plugin 'helthy' is installed (did you mean 'healthy'?)" in message(lambda: plugins.disable("helthy"))
    assert "no plugin 'helthy' is installed" in message(lambda: plugins.enable("helthy"))


def test_disabled_plugin_is_not_imported(install: Callable[..., str], status: Callable[..., Any]) -> None:
    module = install("raises", "raise RuntimeError")
    plugins.disable("raises")
    assert status("raises").summary == "What its metadata say."
    assert module not in sys.modules


def test_settings_that_cannot_be_read(site: Path, message: Callable[..., str]) -> None:
    (site.parent / "home").mkdir()
    (site.parent / "home" / "plugins.json").write_text('{"disabled": "healthy"}')
    assert message(plugins.plugins).endswith('does not hold {"disabled": [names]}; mend it or delete it')


def test_user_without_a_home(
    install: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    build: SimpleNamespace,
    status: Callable[..., Any],
    message: Callable[..., str],
) -> None:
    def homeless(cls: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    install("healthy", build.page() + build.ECHO)
    monkeypatch.delenv("ANYFORMER_HOME")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(Path, "home", classmethod(homeless))
    assert status("healthy").state == "ok"
    assert message(lambda: plugins.disable("healthy")) == (
        "this user has no home folder; set ANYFORMER_HOME to a folder for the settings"
    )


def test_environment_restricts(
    install: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    build: SimpleNamespace,
    status: Callable[..., Any],
    message: Callable[..., str],
) -> None:
    install("healthy", build.page() + build.ECHO)
    other = install("other", build.page())
    monkeypatch.setenv("ANYFORMER_PLUGINS", " healthy ,")
    assert list(plugins.tasks()) == ["healthy/echo"]
    assert (status("other").state, status("other").fix) == ("restricted", "unset ANYFORMER_PLUGINS")
    assert other not in sys.modules
    assert plugins.failing() == []
    monkeypatch.setenv("ANYFORMER_PLUGINS", "helthy")
    plugins.reload()
    assert message(plugins.plugins).startswith("ANYFORMER_PLUGINS names 'helthy', which is not installed; installed: ")
    monkeypatch.setenv("ANYFORMER_PLUGINS", "")
    plugins.reload()
    assert plugins.tasks() == {}
