"""The shell around the listings: what is imported, what is printed where, which exit code; broken plugins all at once."""

from __future__ import annotations

import importlib.util
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from anyformer import cli, plugins
from anyformer.cli.errors import guarded

build = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / "broken" / "build.py")))

HEAVY = ("torch", "transformers", "timm", "Bio", "sklearn", "matplotlib", "pandas", "torchvision", "tokenizers", "PIL")


def shell(*args: str, site: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in a process of its own, with the distributions of a folder beside the installed ones."""
    paths = [str(site)] if site else []
    environment = {"ANYFORMER_HOME": str(site or "nowhere"), "PYTHONPATH": os.pathsep.join(paths), **environment}
    command = [sys.executable, "-c", "import sys; from anyformer.cli import main; sys.exit(main())", *args]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every broken distribution installed at once, and a healthy one."""
    folder: Path = build.build(tmp_path_factory.mktemp("broken") / "site")
    return folder


@pytest.fixture(scope="module")
def listed(site: Path) -> dict[str, list[dict[str, Any]]]:
    """What `anyformer plugins --json` says, by domain."""
    done = shell("plugins", "--json", site=site)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert list(answer) == ["plugins"]
    by_domain: dict[str, list[dict[str, Any]]] = {}
    for row in answer["plugins"]:
        by_domain.setdefault(row["name"], []).append(row)
    return by_domain


# -- broken plugins


@pytest.mark.parametrize("domain", build.EXPECTED)
def test_each_broken_plugin_is_named_with_its_reason(listed: dict[str, list[dict[str, Any]]], domain: str) -> None:
    state, reason, fix = build.EXPECTED[domain]
    assert len(listed[domain]) == (2 if state == "clash" else 1)
    for row in listed[domain]:
        assert row["state"] == state
        assert reason in row["reason"]
        assert fix in row["fix"]
        assert "\n" not in row["reason"]
        assert row["num_tasks"] == (domain in ("healthy", "unresolved"))


def test_other_plugins_stay_as_they_were(listed: dict[str, list[dict[str, Any]]]) -> None:
    assert {one.name: one.state for one in plugins.plugins()}.items() <= {
        name: rows[0]["state"] for name, rows in listed.items()
    }.items()


def test_healthy_tasks_are_listed_beside_broken_plugins(site: Path) -> None:
    done = shell("tasks", site=site)
    assert done.returncode == 0
    assert ["healthy/echo", "an echo of what was said"] in [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert "goodbye" in done.stderr  # printed by a plugin that exits at import
    last = done.stderr.splitlines()[-1]
    assert last.startswith("plugins that do not work: ")
    assert {"exits", "future", "twice"} < set(last.partition(": ")[2].partition(" (")[0].split(", "))
    ids = [row["id"] for row in json.loads(shell("tasks", "--json", site=site).stdout)["tasks"]]
    assert {"healthy/echo", "unresolved/gone"} < set(ids)


def test_listing_for_a_person_names_reason_and_mending(site: Path) -> None:
    done = shell("plugins", site=site)
    assert "\nraises (anyformer-raises), broken: at import: RuntimeError: no luck at all\n" in done.stdout
    assert "  to mend it: pip install 'no-such-distribution>=2'\n" in done.stdout


def test_check_names_the_target_that_does_not_resolve(site: Path) -> None:
    done = shell("plugins", "check", "unresolved", site=site)
    assert done.returncode == 1
    assert "task unresolved/gone: 'fake_unresolved:Gone' does not resolve: fake_unresolved has no 'Gone'" in done.stdout
    assert "Traceback" not in done.stdout
    assert "Traceback" in shell("plugins", "check", "unresolved", "--debug", site=site).stdout
    answer = json.loads(shell("plugins", "check", "twice", "--json", site=site).stdout)
    assert [problem["what"] for problem in answer["problems"]] == ["plugin twice", "plugin twice"]


def test_disable_and_enable(site: Path) -> None:
    done = shell("plugins", "disable", "raises", "--json", site=site)
    assert json.loads(done.stdout) == {"plugin": "raises", "state": "disabled", "changed": True}
    assert shell("plugins", "disable", "raises", site=site).stdout == "raises was disabled already\n"
    listing = json.loads(shell("plugins", "--json", site=site).stdout)["plugins"]
    assert [row["state"] for row in listing if row["name"] == "raises"] == ["disabled"]
    assert shell("plugins", "enable", "raises", site=site).stdout == "raises is enabled\n"
    unknown = shell("plugins", "disable", "rises", site=site)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr.startswith("error: no plugin 'rises' is installed (did you mean 'raises'?); installed: ")


# -- what is imported


@pytest.mark.parametrize("words", [["--help"], ["plugins"], ["tasks", "--json"], ["plugins", "--help"]])
def test_listings_import_nothing_heavy(words: list[str]) -> None:
    code = "import sys; from anyformer.cli import main; main(sys.argv[1:]); sys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)
    imported = set(done.stderr.splitlines()[-1].split())
    assert "anyformer.cli" in imported
    assert imported.isdisjoint(HEAVY)
    if words == ["--help"]:
        assert not {row.module for row in cli.COMMANDS.values()} & imported


def test_help_lists_every_command() -> None:
    done = shell("--help")
    assert done.returncode == 0
    widest = max(map(len, cli.COMMANDS))
    for name, row in cli.COMMANDS.items():
        assert f"  {name:<{widest}}  {row.help}\n" in done.stdout
    assert shell().stdout == done.stdout


@pytest.mark.parametrize("name", [name for name, row in cli.COMMANDS.items() if importlib.util.find_spec(row.module)])
def test_row_of_a_command_is_the_first_line_of_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name, "--help"]) == 0
    assert f"\n\n  {cli.COMMANDS[name].help}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"anyformer {importlib.metadata.version('anyformer')}\n"


# -- errors


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["taks"], "error: unknown command 'taks' (did you mean 'tasks'?); commands: demo, tasks, "),
        (["tasks", "--jsno"], "error: No such option: --jsno"),
        (["plugins", "chekc"], "error: No such command 'chekc'."),
        (["plugins", "check"], "error: Missing argument '"),
    ],
)
def test_wrong_command_line_is_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(line)
    assert captured.err.count("\n") == 1


class Model(BaseModel):
    steps: int


def _raise(error: BaseException) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


@pytest.mark.parametrize(
    ("call", "code", "line"),
    [
        (_raise(ValueError("two\n  lines")), 2, "error: two lines\n"),
        (_raise(ValueError()), 2, "error: ValueError\n"),
        (
            _raise(FileNotFoundError(2, "No such file or directory", "x.csv")),
            2,
            "error: No such file or directory: x.csv\n",
        ),
        (_raise(OSError(28, "No space left on device")), 2, "error: No space left on device\n"),
        (lambda: Model.model_validate({"steps": "many"}), 2, "error: 'steps': Input should be a valid integer"),
        (_raise(KeyboardInterrupt()), 130, "interrupted\n"),
        (lambda: 1, 1, ""),
        (lambda: None, 0, ""),
    ],
)
def test_exit_codes(call: Callable[[], Any], code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(call) == code
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert said.count("\n") == bool(line)


def test_debug_shows_the_traceback_and_a_bug_is_never_hidden(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["plugins", "disable", "nowhere", "--debug"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert "\nerror: no plugin 'nowhere' is installed" in said
    monkeypatch.setenv("ANYFORMER_DEBUG", "1")
    assert cli.main(["plugins", "disable", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("Traceback")
    with pytest.raises(RuntimeError, match="a bug"):
        guarded(_raise(RuntimeError("a bug")))


def test_reader_of_the_output_goes_away() -> None:
    code = "import sys; from anyformer.cli import main; sys.exit(main(['tasks']))"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert done.returncode != 0
