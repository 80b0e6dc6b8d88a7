"""Distributions that are not what they should be, written into a folder as pip would have installed them.

A test reads this file with `runpy.run_path`; a person runs it:

    PYTHONPATH=$(python tests/core/broken/build.py FOLDER) anyformer plugins
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

API = "anyformer>=0.1"

TASK = '''"""{doc}"""
from anyformer.hookspecs import hookimpl
from anyformer.task import TaskSpec


@hookimpl
def anyformer_tasks():
    return {{"{task}": TaskSpec("{target}", "an echo of what was said")}}
'''

ECHO = """

from anyformer.task import Data, Task


class Echo(Task):
    class Input(Data):
        text: str

    class Target(Data):
        text: str

    class Output(Data):
        text: str
"""


def page(task: str = "echo", target: str = "fake_healthy:Echo", doc: str = "A plugin of the tests.") -> str:
    """The page of a plugin that gives one task."""
    return TASK.format(task=task, target=target, doc=doc)


def distribution(
    folder: Path,
    name: str,
    domain: str,
    code: str,
    *,
    module: str = "",
    version: str = "1.0",
    requires: Sequence[str] = (API,),
    entry_points: str = "",
) -> str:
    """Install a distribution of one module and one entry point; returns the module's name."""
    module = module or f"fake_{domain.replace('-', '_')}"
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", "Summary: What its metadata say."]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    (info / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = entry_points or f"[anyformer]\n{domain} = {module}\n"
    (info / "entry_points.txt").write_text(text, encoding="utf-8")
    (info / "RECORD").write_text("", encoding="utf-8")
    return module


EXPECTED: dict[str, tuple[str, str, str]] = {
    # domain: state, what the reason says, what the command that mends it says
    "raises": ("broken", "RuntimeError: no luck at all", "pip install --upgrade anyformer-raises"),
    "exits": ("broken", "SystemExit: 3", "pip install --upgrade anyformer-exits"),
    "misspelt": ("broken", "there is no hook 'anyformer_taks' (did you mean 'anyformer_tasks'?)", "--upgrade"),
    "unmarked": ("broken", "anyformer_tasks is not marked; write @hookimpl above it", "--upgrade"),
    "lacking": ("broken", "not installed: no-such-distribution>=2", "pip install 'no-such-distribution>=2'"),
    "future": ("incompatible", "built for anyformer>=9", "pip install --upgrade anyformer anyformer-future"),
    "twice": ("clash", "anyformer-twice and other-twice claim the domain 'twice'", "pip uninstall other-twice"),
    "hook-raises": ("broken", "in anyformer_tasks: ZeroDivisionError", "--upgrade"),
    "hook-exits": ("broken", "in anyformer_tokenizers: SystemExit", "--upgrade"),
    "returns-list": ("broken", "it returned list; it must return a mapping by name", "--upgrade"),
    "unresolved": ("ok", "", ""),
    "healthy": ("ok", "", ""),
}
"""What `anyformer plugins` must say of each domain that `build` installs."""


def build(folder: Path) -> Path:
    """Install them all at once, and one healthy plugin beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    hook = "from anyformer.hookspecs import hookimpl\n\n\n@hookimpl\n"
    distribution(folder, "anyformer-raises", "raises", "raise RuntimeError('no luck at all')\n")
    distribution(folder, "anyformer-exits", "exits", "print('goodbye')\nraise SystemExit(3)\n")
    distribution(folder, "anyformer-misspelt", "misspelt", hook + "def anyformer_taks():\n    return {}\n")
    distribution(folder, "anyformer-unmarked", "unmarked", "def anyformer_tasks():\n    return {}\n")
    lacking = (API, "no-such-distribution>=2", 'no-other>=1; extra == "gpu"', 'no-third; python_version < "3"')
    distribution(folder, "anyformer-lacking", "lacking", page(), requires=lacking)
    distribution(folder, "anyformer-future", "future", page(), requires=("anyformer>=9",))
    distribution(folder, "anyformer-twice", "twice", page(), module="fake_twice_one")
    distribution(folder, "other-twice", "twice", page(), module="fake_twice_other")
    distribution(folder, "anyformer-hook-raises", "hook-raises", hook + "def anyformer_tasks():\n    return 1 / 0\n")
    distribution(
        folder, "anyformer-hook-exits", "hook-exits", hook + "def anyformer_tokenizers():\n    raise SystemExit\n"
    )
    distribution(
        folder, "anyformer-returns-list", "returns-list", hook + "def anyformer_tasks():\n    return ['echo']\n"
    )
    unresolved = page("gone", "fake_unresolved:Gone", "Its target does not resolve.")
    distribution(folder, "anyformer-unresolved", "unresolved", unresolved)
    distribution(folder, "anyformer-healthy", "healthy", page(doc="A healthy plugin.") + ECHO)
    return folder


if __name__ == "__main__":
    sys.stdout.write(f"{build(Path(sys.argv[1]).absolute())}\n")
