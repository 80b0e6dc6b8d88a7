"""The finished third-party plugin of the examples: as short as its README says, and whole in an environment of its own.

* The environment is a new one that `uv` fills from its cache: the wheels of the core and the toy, what they require, and no
  other plugin. Nothing is downloaded; where the cache lacks something, the tests that need it are skipped.
* What runs there sees nothing of this repository: neither its working folder nor its pytest settings.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / "examples" / "anyformer-toy"


@dataclass(frozen=True)
class Place:
    """A folder with an environment in it."""

    folder: Path
    settings: dict[str, str]

    def run(self, *command: str | Path, timeout: float = 300) -> str:
        """What a program of the environment prints; its first word is the program's name. A failure shows what it said."""
        program = self.folder / "env" / "bin" / command[0]
        return self.call([program, *command[1:]], timeout).stdout

    def call(self, command: Sequence[str | Path], timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """A finished command, run in the folder."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.settings, capture_output=True, text=True, timeout=timeout
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done


@pytest.fixture(scope="module")
def clean() -> Iterator[Place]:
    """An environment with the core and the toy."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        pytest.skip("needs uv to make a clean environment: pip install uv")
    with tempfile.TemporaryDirectory() as name:
        hidden = ("PYTHONPATH", "PYTEST_ADDOPTS", "VIRTUAL_ENV", "ANYFORMER_PLUGINS")
        settings = {key: value for key, value in os.environ.items() if key not in hidden}
        settings |= {"UV_OFFLINE": "1", "ANYFORMER_HOME": name, "UV_LINK_MODE": _link_mode(uv, Path(name))}
        place = Place(Path(name), settings)
        try:
            _install(uv, place)
        except AssertionError as error:
            if re.search("network (was|connectivity is) disabled", str(error), re.IGNORECASE):
                pytest.skip("the cache of uv lacks what a clean environment takes, and tests download nothing")
            raise
        shutil.copytree(TOY / "tests", place.folder / "tests")
        yield place


def _link_mode(uv: str, folder: Path) -> str:
    """How gigabytes get into the environment without being copied."""
    cache = subprocess.run([uv, "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    same = os.path.exists(cache) and os.stat(cache).st_dev == os.stat(folder).st_dev
    return "hardlink" if same else "symlink"


def _install(uv: str, place: Place) -> None:
    """Build both wheels, and install them with the versions that the workspace is tested with."""
    for source in (ROOT / "core", TOY):
        place.call([uv, "build", "--wheel", "--out-dir", place.folder / "wheels", source])
    core, toy = (next((place.folder / "wheels").glob(f"{name}-*.whl")) for name in ("anyformer", "anyformer_toy"))
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["constraint-dependencies"]
    (place.folder / "constraints.txt").write_text("\n".join(known))
    place.call([uv, "venv", "--python", sys.executable, "env"])
    wanted = [f"anyformer[testing] @ {core.as_uri()}", f"anyformer-toy @ {toy.as_uri()}"]
    place.call([uv, "pip", "install", "--python", "env", "--constraints", "constraints.txt", *wanted])


def test_it_is_the_only_plugin_beside_an_unchanged_core(clean: Place) -> None:
    listed = json.loads(clean.run("anyformer", "tasks", "--json"))["tasks"]
    assert [task["id"] for task in listed] == ["toy/key"]
    assert "everything it names resolves" in clean.run("anyformer", "plugins", "check", "toy")
    (site,) = (clean.folder / "env" / "lib").glob("python*/site-packages")
    installed = {path.relative_to(site): path.read_bytes() for path in (site / "anyformer").rglob("*.py")}
    ours = {path.relative_to(ROOT / "core"): path.read_bytes() for path in (ROOT / "core" / "anyformer").rglob("*.py")}
    assert installed == ours


def test_it_keeps_the_contract(clean: Place) -> None:
    printed = clean.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=3")
    passed = re.search(r"(\d+) passed", printed)
    assert passed is not None
    assert int(passed[1]) >= 16, printed
    assert "failed" not in printed


def test_its_readme_teaches_it_to_beat_both_baselines(clean: Place) -> None:
    (usage,) = [block for block in _blocks() if "af.finetune" in block]
    *said, last = clean.run("python", "-c", f"{usage}\nimport json; print(json.dumps(run.scores))").splitlines()
    assert said == ["A minor"]
    scores = json.loads(last)
    assert scores["verdict"] == "skill"
    assert scores["baselines"].keys() == {"last_note", "profile"}
    best = max(values["closeness"] for values in scores["baselines"].values())
    assert scores["scores"]["closeness"]["low"] > best + 0.1


def test_it_is_at_most_150_lines() -> None:
    lines = {str(path): len(path.read_text().splitlines()) for path in TOY.rglob("*.py")}
    assert sum(lines.values()) <= 150, lines


def test_its_readme_shows_all_of_its_code() -> None:
    sources = [_lines(path.read_text()) for path in [TOY / "pyproject.toml", *TOY.rglob("*.py")]]
    shown = [_lines(block) for block in _blocks() if "af.finetune" not in block]
    assert sorted("\n".join(shown).splitlines()) == sorted("\n".join(sources).splitlines())
    assert not [block for block in shown if not any(block in source for source in sources)]


def _blocks() -> list[str]:
    """The code in the README, block by block."""
    return re.findall(r"^```(?:python|toml)\n(.*?)^```$", (TOY / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def _lines(text: str) -> str:
    """Code without empty lines and indentation: a method stands alone in the README."""
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())
