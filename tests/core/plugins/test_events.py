"""Listeners of a run: plugins and objects of the process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anyformer import plugins
from anyformer.hookspecs import hookimpl

HOOK = "from anyformer.hookspecs import hookimpl\n\n\n@hookimpl\n"


class Listener:
    """Writes down what it hears, and raises when it is told to."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.heard: list[Any] = []
        self.error = error

    @hookimpl
    def anyformer_run_ended(self, reason: str) -> None:
        self.heard.append(reason)
        if self.error is not None:
            raise self.error


def test_events_reach_plugins_and_listeners(install: Callable[..., str], tmp_path: Path) -> None:
    module = install("log", "heard = []\n\n\n" + HOOK + "def anyformer_run_ended(run):\n    heard.append(run)\n")
    listener = Listener()
    plugins.register(listener)
    plugins.register(listener)
    plugins.notify("run_ended", run=tmp_path, reason="finished")
    plugins.unregister(listener)
    plugins.notify("run_ended", run=tmp_path, reason="again")
    assert listener.heard == ["finished"]
    assert sys.modules[module].heard == [tmp_path, tmp_path]


@pytest.mark.parametrize("error", [OSError("disk full"), SystemExit(1)])
def test_listener_that_raises_is_switched_off_with_a_word(
    site: Path, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    bad, good = Listener(error), Listener()
    plugins.register(bad)
    plugins.register(good)
    for _ in range(3):
        plugins.notify("run_ended", run=site, reason="finished")
    plugins.unregister(bad)
    plugins.unregister(good)
    assert (len(bad.heard), len(good.heard)) == (1, 3)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("warning: the listener of 'Listener' is switched off, it raised in run_ended: ")


def test_misspelt_listener(message: Callable[..., str]) -> None:
    class Misspelt:
        @hookimpl
        def anyformer_step_end(self) -> None: ...

    assert "(did you mean 'anyformer_step_ended'?)" in message(lambda: plugins.register(Misspelt()))
