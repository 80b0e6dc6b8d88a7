"""Which tasks the contract is run for, and from which files it is collected."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from anyformer import plugins, testing
from anyformer.testing.contract import pytest_generate_tests


def chosen(option: str | None = None, ini: str = "", wanted: str = "subject") -> list[str]:
    """What a test that wants a fixture is run for."""
    found: list[str] = []
    config = SimpleNamespace(getoption=lambda name, default: option or default, getini=lambda name: ini)
    asked: Any = SimpleNamespace(
        config=config, fixturenames=[wanted], parametrize=lambda name, values, **rest: found.extend(values)
    )
    pytest_generate_tests(asked)
    return found


def test_every_task_of_every_plugin_is_tested() -> None:
    assert chosen() == list(plugins.tasks())
    assert chosen(wanted="domain") == ["bio", "finance", "nlp", "vision"]
    assert chosen(wanted="tmp_path") == []


@pytest.mark.parametrize("given", [{"option": "nlp, bio"}, {"ini": "bio,nlp"}, {"option": "bio,nlp", "ini": "vision"}])
def test_domains_can_be_chosen(given: dict[str, str]) -> None:
    assert {id.partition("/")[0] for id in chosen(**given)} == {"bio", "nlp"}


def test_a_domain_that_is_not_there_is_an_error() -> None:
    with pytest.raises(pytest.UsageError, match="no plugin 'weather' is in use; there are: bio, finance, nlp, vision"):
        chosen("weather")


@pytest.mark.parametrize(
    ("conftest", "asks"),
    [
        ({"pytest_plugins": ["anyformer.testing"]}, True),
        ({"pytest_plugins": "anyformer.testing"}, True),
        ({"pytest_collect_file": testing.pytest_collect_file}, True),
        ({"pytest_plugins": ["other"], "pytest_collect_file": print}, False),
        (None, False),
    ],
)
def test_a_conftest_that_asks_is_collected(
    conftest: dict[str, Any] | None, asks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(testing._Contract, "from_parent", lambda parent, path: path)
    found = None if conftest is None else SimpleNamespace(**conftest)
    manager = SimpleNamespace(get_plugin=lambda name: found if name == "conftest.py" else None)
    parent: Any = SimpleNamespace(config=SimpleNamespace(pluginmanager=manager))
    assert (testing.pytest_collect_file(Path("conftest.py"), parent) is not None) == asks
    assert testing.pytest_collect_file(Path("test_other.py"), parent) is None
