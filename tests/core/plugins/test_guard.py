"""One plugin, imported and called: nothing it raises or prints goes further."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from anyformer import plugins

HOOK = "from anyformer.hookspecs import hookimpl\n\n\n@hookimpl\n"


def test_keyboard_interrupt_passes(install: Callable[..., str]) -> None:
    install("interrupted", "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        plugins.tasks()


def test_hooks_are_called_once(install: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    install("counted", "print('imported')\n" + HOOK + "def anyformer_tasks():\n    print('called')\n    return {}\n")
    plugins.tasks()
    plugins.plugins()
    captured = capsys.readouterr()
    assert captured.out == ""  # a plugin that prints must not spoil --json
    assert captured.err == "imported\ncalled\n"


def test_full_id_imports_its_own_plugin_alone(install: Callable[..., str], build: SimpleNamespace) -> None:
    install("healthy", build.page() + build.ECHO)
    other = install("other", build.page())
    plugins.task("healthy/echo")
    assert other not in sys.modules
    plugins.tasks()
    assert other in sys.modules


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("pass", "it returned None; it must return a mapping by name"),
        ("return {'a/b': lambda: None}", "'a/b' is no name"),
        ("return {'a': 3}", "'a' is 3; it must be a TokenizerSpec"),
    ],
)
def test_hook_that_returns_something_else(
    install: Callable[..., str], body: str, reason: str, status: Callable[..., Any]
) -> None:
    install("odd", HOOK + f"def anyformer_tokenizers():\n    {body}\n")
    assert reason in status("odd").reason


def test_hook_with_unknown_argument(install: Callable[..., str], status: Callable[..., Any]) -> None:
    install("odd", HOOK + "def anyformer_step_ended(run, lien):\n    pass\n")
    assert "'lien'" in status("odd").reason


def test_failed_hook_leaves_the_others_in_use(
    install: Callable[..., str], build: SimpleNamespace, status: Callable[..., Any]
) -> None:
    install(
        "half",
        build.page(target="fake_half:Echo") + "\n\n@hookimpl\ndef anyformer_presets():\n    1 / 0\n" + build.ECHO,
    )
    assert status("half").state == "ok"  # a listing does not ask for presets
    assert "half/x" not in plugins.presets()
    assert "in anyformer_presets: ZeroDivisionError" in status("half").reason
    assert "half" in plugins.failing()
    assert plugins.task("half/echo").__name__ == "Echo"
    with pytest.raises(
        ValueError, match=r"^preset 'half/x' is out of reach, its plugin is not in use: anyformer-half 1.0, broken: in"
    ):
        plugins.preset("half/x")
