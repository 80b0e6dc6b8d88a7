"""What is installed, and what is refused before it is imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from anyformer import plugins
from anyformer.task import Task


def test_healthy_plugin_is_listed_and_its_task_resolves(
    install: Callable[..., str], build: SimpleNamespace, status: Callable[..., Any]
) -> None:
    install("healthy", build.page(doc="A healthy plugin.\n\nMore of it.") + build.ECHO)
    assert status("healthy") == plugins.PluginStatus(
        "healthy", "anyformer-healthy", "1.0", "ok", "", "", "A healthy plugin.", 1
    )
    assert plugins.tasks()["healthy/echo"].summary == "an echo of what was said"
    found = plugins.task("healthy/echo")
    assert issubclass(found, Task)
    assert found is plugins.task("echo")
    assert plugins.task_id("echo") == "healthy/echo"
    assert plugins.distribution_of("healthy") == ("anyformer-healthy", "1.0")


def test_of_two_copies_of_a_distribution_the_first_on_the_path_counts(
    install: Callable[..., str],
    site: Path,
    monkeypatch: pytest.MonkeyPatch,
    build: SimpleNamespace,
    status: Callable[..., Any],
) -> None:
    install("healthy", build.page() + build.ECHO)
    first = site.parent / "first"
    first.mkdir()
    build.distribution(first, "Anyformer_Healthy", "healthy", build.page(), version="2.0")
    monkeypatch.syspath_prepend(first)
    plugins.reload()
    assert status("healthy").version == "2.0"


def test_requirements_of_other_machines_and_of_extras_do_not_count(
    install: Callable[..., str], build: SimpleNamespace, status: Callable[..., Any]
) -> None:
    requires = ['no-such>=1; extra == "gpu"', 'no-such; python_version < "3"', "Anyformer[testing]<999,>=0.0.1.dev0"]
    install("healthy", build.page() + build.ECHO, requires=requires)
    assert status("healthy").state == "ok"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"entry_points": "[anyformer]\nno equals sign\n"}, "its metadata cannot be read"),
        ({"requires": ["not a requirement ("]}, "its requirements cannot be read"),
        ({"entry_points": "[anyformer]\nOdd/name = fake_odd\n"}, "its entry point 'Odd/name' is no domain"),
        ({"entry_points": "[anyformer]\nodd = fake_nowhere\n"}, "No module named 'fake_nowhere'"),
    ],
)
def test_metadata_that_make_no_sense_spoil_one_plugin(
    install: Callable[..., str],
    settings: dict[str, Any],
    reason: str,
    build: SimpleNamespace,
    status: Callable[..., Any],
) -> None:
    install("odd", build.page(), **settings)
    install("healthy", build.page() + build.ECHO)
    assert status("healthy").state == "ok"
    (odd,) = [one for one in plugins.plugins() if one.distribution in ("anyformer-odd", "anyformer_odd")]
    assert odd.state == "broken"
    assert reason in odd.reason
    assert "\n" not in odd.reason
    assert odd.fix.startswith("pip install")
