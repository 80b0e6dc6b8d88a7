"""From ids to classes, and the one line that helps where there is nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from anyformer import plugins

HOOK = "from anyformer.hookspecs import hookimpl\n\n\n@hookimpl\n"


def test_unknown_names_say_what_exists_and_what_to_do(
    install: Callable[..., str], monkeypatch: pytest.MonkeyPatch, build: SimpleNamespace, message: Callable[..., str]
) -> None:
    install("healthy", build.page() + build.ECHO)
    install("other", build.page())
    install("raises", "raise RuntimeError('no luck')")
    monkeypatch.setenv("ANYFORMER_PLUGINS", "healthy,other,raises")
    assert message(lambda: plugins.task("echo")) == (
        "'echo' is a task of several plugins; write one of: healthy/echo, other/echo"
    )
    assert message(lambda: plugins.task("ecko")).startswith(
        "unknown task 'ecko' (did you mean 'echo'?); there are: healthy/echo, other/echo; not in use: "
    )
    assert message(lambda: plugins.task("healthy/ecko")) == (
        "unknown task 'healthy/ecko' (did you mean 'healthy/echo'?); healthy has: healthy/echo"
    )
    assert message(lambda: plugins.task("raises/x")) == (
        "task 'raises/x' is out of reach, its plugin is not in use: anyformer-raises 1.0, broken: "
        "at import: RuntimeError: no luck; to mend it: pip install --upgrade anyformer-raises"
    )
    unknown = message(lambda: plugins.task("geology/layer"))
    assert unknown.startswith("unknown task 'geology/layer': no plugin 'geology' is installed; installed: ")
    assert unknown.endswith("; to install it: pip install anyformer-geology")
    assert "pip install" not in message(lambda: plugins.task("../rain"))
    assert "pip install anyformer-geology" in message(lambda: plugins.distribution_of("geology"))
    monkeypatch.setenv("ANYFORMER_PLUGINS", "")
    plugins.reload()
    assert message(lambda: plugins.tokenizer("bpe")).startswith(
        "unknown tokenizer 'bpe': no installed plugin gives a tokenizer; to install one: pip install anyformer-DOMAIN"
    )


@pytest.mark.parametrize(
    ("target", "code", "reason"),
    [
        ("fake_healthy:Gone", "", "'fake_healthy:Gone' does not resolve: fake_healthy has no 'Gone'"),
        ("fake_healthy:anyformer_tasks", "", "'fake_healthy:anyformer_tasks' is no Task"),
        ("fake_exits:Echo", "raise SystemExit", "SystemExit"),
    ],
)
def test_target_that_cannot_be_used(
    install: Callable[..., str],
    site: Path,
    target: str,
    code: str,
    reason: str,
    build: SimpleNamespace,
    message: Callable[..., str],
) -> None:
    (site / "fake_exits.py").write_text(code)
    install("healthy", build.page(target=target))
    assert message(lambda: plugins.task("echo")) == (
        f"task 'healthy/echo' cannot be used: {reason}; see: anyformer plugins check healthy"
    )


def test_reader_that_two_plugins_give_is_neither(
    install: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    gift = HOOK + "def anyformer_readers():\n    return {'.odd': 'fake_one:read', '.%s': 'fake_one:read'}\n"
    install("one", gift % "one")
    install("two", gift % "two")
    assert {name for name in plugins.readers() if name in (".odd", ".one", ".two")} == {".one", ".two"}
    assert "warning: no reader for '.odd', one and two both give one" in capsys.readouterr().err
