"""`check` resolves every target and says all that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from anyformer import plugins


def test_check_names_everything_that_is_wrong(
    install: Callable[..., str], build: SimpleNamespace, status: Callable[..., Any]
) -> None:
    code = build.page(target="fake_hollow:Echo") + build.ECHO.replace("class Output", "class Answer")
    code += (
        "    tokenizers = {'text': 'fake_hollow:Nothing'}\n    trunk = 'encodr'\n    solver = 'fake_hollow:number'\n"
        "    demo = 'fake_nowhere:demo'\n\n\nnumber = 3\n\n\n"
        "@hookimpl\ndef anyformer_tokenizers():\n    return {'t': TaskSpec('fake_hollow:Echo', 'no tokenizer')}\n\n\n"
        "@hookimpl\ndef anyformer_presets():\n    return {'p': dict, 'q': lambda: 1 / 0}\n\n\n"
        "@hookimpl\ndef anyformer_readers():\n    return {'.x': 'fake_hollow:read'}\n"
    )
    install("hollow", code, requires=["anyformer>=0.1", "pluggy>=999"])
    assert status("hollow").state == "ok"  # listing resolves nothing
    found = {(one.what.removeprefix("task hollow/"), one.reason) for one in plugins.check("hollow")}
    unfilled = {"examples", "encode", "learn", "head", "decode", "metrics", "baselines", "draw", "Output"}
    assert found >= {("echo", f"{name} is not defined") for name in unfilled}
    rest = {what: reason for what, reason in found if not reason.endswith("is not defined")}
    assert "pluggy>=999" in rest.pop("plugin hollow")
    assert rest == {
        "echo": "trunk is 'encodr'",
        "echo, its tokenizer 'text'": "'fake_hollow:Nothing' does not resolve: fake_hollow has no 'Nothing'",
        "echo, its solver": "'fake_hollow:number' is no function",
        "echo, its demo": "'fake_nowhere:demo' does not resolve: no module named 'fake_nowhere'",
        "tokenizer hollow/t": "'fake_hollow:Echo' is no Tokenizer",
        "preset hollow/p": "it returns dict",
        "preset hollow/q": "ZeroDivisionError: division by zero",
        "reader .x of hollow": "'fake_hollow:read' does not resolve: fake_hollow has no 'read'",
    }
    assert all(one.fix for one in plugins.check("hollow"))


def test_check_of_a_plugin_that_does_not_load(install: Callable[..., str], message: Callable[..., str]) -> None:
    install("raises", "raise RuntimeError('no luck')")
    (problem,) = plugins.check("raises")
    assert (problem.what, problem.reason) == ("plugin raises", "at import: RuntimeError: no luck")
    assert "fake_raises.py" in problem.trace
    assert "no plugin 'rises' is installed (did you mean 'raises'?)" in message(lambda: plugins.check("rises"))


@pytest.mark.parametrize(
    "domain", [one.name for one in plugins.plugins() if one.state not in ("disabled", "restricted")]
)
def test_installed_plugin_is_whole(domain: str) -> None:
    assert [(one.what, one.reason) for one in plugins.check(domain)] == []
