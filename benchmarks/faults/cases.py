"""The faults: each is put into a run of a system, and gives figures and a sentence on what became of it."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from anyformer.testing.faults import Fault, Moments, full_disk, kill
from benchmarks.faults.ends import Row, ended, recovery, whole
from benchmarks.faults.systems import SAVED, Listener, System

FAULTY = 5
"""The step that meets a number that is not finite, or no memory."""
PAUSE = 0.03
"""Seconds added to each step where signals fall by the clock."""
LONG = 160
"""Steps of such a run."""
Case = Callable[[System, Path], Row]


def struck(system: System, folder: Path, moments: Moments, **options: Any) -> int:
    """Train with one save under watch."""
    moments.counting = False

    def watch(step: int) -> None:
        moments.counting = step == SAVED

    def leave() -> None:
        moments.counting = False

    with moments.watching():
        code = system.begin(folder, Listener(watch, leave), **options)
    folder.with_name(folder.name + ".moments").write_text(json.dumps(moments.names))
    return code


def _struck_everywhere(system: System, folder: Path, fault: Fault, within: str) -> list[Row]:
    """One run for each moment of a save whose name has `within`, struck there and resumed."""
    options = {"keep": 1}  # so that something is removed too
    counted = folder / "counted"
    assert ended(lambda: struck(system, counted, Moments(), **options), counted).code == 0
    names = json.loads((folder / "counted.moments").read_text())
    rows, run = [], folder / "run"
    for at, name in enumerate(names, start=1):
        if within not in name:
            continue
        found = ended(partial(struck, system, run, Moments(at, fault), **options), run)
        assert fault is not kill or found.code == -signal.SIGKILL, f"{system.name} was not killed {name}: {found.said}"
        row, _ = recovery(system, run, counted, **options)
        rows.append({"moment": name, "code": found.code, "struck_said": found.last, "traced": "Traceback" in found.said,
                     "reason": "No space left" in found.last, **row})  # fmt: skip
        shutil.rmtree(run)
    return rows


def killed(system: System, folder: Path) -> Row:
    """SIGKILL before and half-way through every write, sync, rename and removal of a save."""
    rows = _struck_everywhere(system, folder, kill, "")
    counts = {key: sum(row[key] for row in rows) for key in ("resumed", "same_weights", "whole_log")}
    said = (
        f"of {len(rows)} kills {counts['resumed']} resume, {counts['same_weights']} end with the undisturbed weights, "
    )
    failed = [row for row in rows if not row["same_weights"]]
    return {"said": f"{said}{counts['whole_log']} with a whole log", "moments": len(rows), **counts, "failed": failed}


def disk(system: System, folder: Path) -> Row:
    """No space left, from before or half-way through each write of a save on."""
    rows = _struck_everywhere(system, folder, full_disk, "write")
    one_line = sum(row["code"] != 0 and not row["traced"] and row["reason"] for row in rows)
    counts = {key: sum(row[key] for row in rows) for key in ("resumed", "same_weights")}
    said = f"of {len(rows)} writes {one_line} end in one line with the reason; {counts['resumed']} resume, "
    failed = [row for row in rows if not row["same_weights"]]
    example = rows[-1]["struck_said"]
    return {"said": f"{said}{counts['same_weights']} end with the undisturbed weights", "moments": len(rows),
            "one_line": one_line, **counts, "example": example, "failed": failed}  # fmt: skip


def _at_step(system: System, begin: Callable[[Listener], int], before: Any = None, after: Any = None) -> int:
    """Train with a hook before or after the whole model in the faulty step."""
    now = [1]
    wanted: Callable[[Any], bool] = lambda module: now[0] == FAULTY and system.is_model(module)  # noqa: E731
    if after is not None:
        register_module_forward_hook(lambda module, _, found: after(found) if wanted(module) else None)
    if before is not None:
        register_module_forward_pre_hook(lambda module, _: before(module) if wanted(module) else None)
    return begin(Listener(lambda step: now.__setitem__(0, step + 1)))


def _not_finite(number: float) -> Case:
    def case(system: System, folder: Path) -> Row:
        run = folder / "run"
        spoil: Callable[[Any], Any] = lambda found: system.spoil(found, number)  # noqa: E731
        begin: Callable[[Listener], int] = lambda listener: system.begin(run, listener)  # noqa: E731
        found = ended(lambda: _at_step(system, begin, after=spoil), run)
        saved = {step: system.finite(path) for step, path in system.checkpoints(run).items()}
        bad = [step for step, finite in saved.items() if not finite]
        steps = max(line["step"] for line in system.lines(run)) if found.code == 0 else None
        logged = next((line for line in system.lines(run) if line["step"] == FAULTY), None) if found.code == 0 else None
        warned = [line for line in found.said.splitlines() if "not finite" in line]
        said = f"exit code {found.code} after step {steps}; {len(bad)} of {len(saved)} checkpoints are not finite; "
        said += f"the log of the step: {_short(logged)}{'; a warning' if warned else '; no warning'}"
        return {"said": said, "code": found.code, "steps": steps, "not_finite": bad, "checkpoints": list(saved),
                "log": {name: str(value) for name, value in (logged or {}).items()}, "warnings": warned}  # fmt: skip

    case.__doc__ = f"The loss of step {FAULTY} is {number}."
    return case


def _short(line: Any) -> str:
    names = ("train/loss", "loss", "train/grad_norm", "grad_norm", "skipped")
    return ", ".join(f"{name} {line[name]}" for name in names if line and name in line)


def memory(system: System, folder: Path) -> Row:
    """Memory runs out once, in the forward pass of a step; nothing is drawn at random."""
    undisturbed, run = whole(system, folder / "whole", dropout=False), folder / "run"
    left = [1]

    def refuse(module: torch.nn.Module) -> None:
        if left[0]:
            left[0] -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    begin: Callable[[Listener], int] = lambda listener: system.begin(run, listener, dropout=False)  # noqa: E731
    found = ended(lambda: _at_step(system, begin, before=refuse), run)
    if found.code != 0:
        return {"said": f"the run ends with code {found.code}: {found.last}", "code": found.code}
    losses = [[line.get("train/loss", line.get("loss")) for line in system.lines(each)] for each in (undisturbed, run)]
    last = [[value for value in each if value is not None][-1] for each in losses]
    apart = abs(float(last[0]) - float(last[1]))
    return {"said": f"the run goes on; its last loss differs by {apart:.1e}", "code": 0, "difference": apart}


def signals(system: System, folder: Path) -> Row:
    """SIGTERM at five random moments, the last two times followed by a second one 2 ms later."""
    options = {"steps": LONG, "save_every": LONG // 16}
    undisturbed = whole(system, folder / "whole", **options)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(5):
        run = folder / f"run{number}"
        delay, again = float(rng.uniform(0.1, 0.35)) * LONG * PAUSE, number >= 3
        found = ended(partial(_signalled, system, run, delay, again, **options), run)
        at = int(run.with_name(run.name + ".step").read_text())
        newest = max(system.checkpoints(run), default=0)
        row, _ = recovery(system, run, undisturbed, **options)
        rows.append({"at_step": at, "second": again, "code": found.code, "saved_step": newest, **row})
    within = sum(0 <= row["saved_step"] - row["at_step"] <= 1 for row in rows)
    same = sum(row["same_weights"] for row in rows)
    codes = ", ".join(str(code) for code in dict.fromkeys(row["code"] for row in rows))
    apart = [row["saved_step"] - row["at_step"] for row in rows]
    said = (
        f"of 5, {within} saved within a step (steps from the signal to what is saved: {min(apart)} to {max(apart)}); "
    )
    return {"said": f"{said}exit code {codes}; {same} end with the undisturbed weights", "within": within, "same": same,
            "signals": rows}  # fmt: skip


def _signalled(system: System, folder: Path, delay: float, again: bool, **options: Any) -> int:
    """Train, and be told to stop some time after the first step."""
    now = [0]
    at: list[int] = []

    def stop(number: int, frame: Any) -> None:
        at.append(now[0])
        folder.with_name(folder.name + ".step").write_text(str(at[0]))
        if len(at) == 1 + again:
            signal.setitimer(signal.ITIMER_REAL, 0)
        os.kill(os.getpid(), signal.SIGTERM)

    def step_ended(step: int) -> None:
        now[0] = step
        if step == 1:
            signal.signal(signal.SIGALRM, stop)
            signal.setitimer(signal.ITIMER_REAL, delay, 0.002)
        time.sleep(PAUSE)

    return system.begin(folder, Listener(step_ended), **options)


def flipped(system: System, folder: Path) -> Row:
    """One bit of the middle byte of each file of the newest checkpoint, in a run that was killed a step later."""
    undisturbed, stopped = whole(system, folder / "whole"), folder / "stopped"

    def stop(step: int) -> None:
        if step == SAVED + 1:
            kill("after a step")

    assert ended(lambda: system.begin(stopped, Listener(stop)), stopped).code == -signal.SIGKILL
    rows = []
    for file in sorted(path.name for path in system.checkpoints(stopped)[SAVED].iterdir()):
        run = folder / f"flipped-{file}"
        shutil.copytree(stopped, run)
        path = system.checkpoints(run)[SAVED] / file
        damaged = bytearray(path.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        path.write_bytes(damaged)
        row, said = recovery(system, run, undisturbed)
        rows.append({"file": file, "named": file in said.replace(str(run), ""), **row})
    named, same = (sum(row[key] for row in rows) for key in ("named", "same_weights"))
    failed = sum(not row["resumed"] for row in rows)
    other = [row["file"] for row in rows if row["resumed"] and not row["same_weights"]]
    silent = f"{len(other)} end with other weights" + (f" ({', '.join(other)})" if other else "")
    said = f"of {len(rows)} files {named} are named; {same} end with the undisturbed weights, {failed} do not resume, "
    return {"said": said + silent, "files": rows}


CASES: dict[str, Case] = {
    "killed in a save": killed,
    "full disk in a save": disk,
    "a loss is NaN": _not_finite(math.nan),
    "a loss is infinite": _not_finite(math.inf),
    "out of memory": memory,
    "SIGTERM": signals,
    "a flipped bit": flipped,
}
"""By what the table calls them."""
