"""No file of a run is a pickle, and none is unpickled: over a run, a stop, a resume, an evaluation and a load.

* A process of its own does it all for the plugin of the tests and a task of each domain, while the interpreter's own hook
  listens to every class that an unpickler looks up, and what reads a pickle from a file notes each call.
* In the end the same process does unpickle a file, and is caught: the check can fail.
* Files are judged by what is in them, whatever they are called, and by what they are called.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import pickletools
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

TASKS = (
    "letters/richest", "nlp/text-classification", "vision/image-classification", "bio/secondary-structure",
    "finance/forecast",
)  # fmt: skip
SUFFIXES = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill"}
CHILD = """
import json, pickle, signal, sys
from pathlib import Path

seen = []
sys.addaudithook(lambda event, given: seen.append([event, *map(str, given)]) if event == "pickle.find_class" else None)

import numpy as np
import torch

import anyformer as af
from anyformer import plugins
from anyformer.hookspecs import hookimpl
from anyformer.testing.subject import Subject
from anyformer.train.stop import Stopped


def noted(owner, name):
    call = getattr(owner, name)
    setattr(owner, name, lambda *given, **named: (seen.append([f"{owner.__name__}.{name}"]), call(*given, **named))[1])


for owner in (pickle, torch):
    for name in ("load", "save" if owner is torch else "dump"):
        noted(owner, name)


class StopAt:
    @hookimpl
    def anyformer_step_ended(self, line):
        if line["step"] == 3:
            signal.raise_signal(signal.SIGTERM)


folder, *ids = sys.argv[1:]
listener = StopAt()
plugins.register(listener)
for id in ids:
    run, subject = Path(folder) / id.replace("/", "-"), Subject.of(id)
    training = {"steps": 5, "save_every": 2, "log_every": 1, "records": 4, "evaluate_every": 2, "ema": 0.9, "keep": 9}
    given = {"data": subject.rows, "valid": subject.rows}
    try:
        af.finetune(id, out=run, settings={"trunk": subject.trunk, "training": training}, **given)
    except Stopped:
        pass
    else:
        raise AssertionError("it was not stopped")
    af.resume(run, **given)
    af.evaluate(model=run, data=subject.rows)
    af.load(run / "model")
used = list(seen)
seen.clear()
torch.save({"net": torch.nn.Linear(1, 1)}, Path(folder) / "control.pt")
torch.load(Path(folder) / "control.pt", weights_only=False)
with open(Path(folder) / "control.json", "wb") as file:
    pickle.dump([1], file)
with open(Path(folder) / "control.json", "rb") as file:
    pickle.load(file)
json.dump({"used": used, "control": seen}, open(Path(folder) / "seen.json", "w"))
"""


def pickled(data: bytes, name: str = "") -> bool:
    """Whether a file is a pickle, or holds one."""
    if Path(name).suffix in SUFFIXES:
        return True
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            return any(pickled(packed.read(each), each) for each in packed.namelist())
    if data.startswith(b"\x93NUMPY"):
        return b"'descr': '|O'" in data[:256]
    try:
        end = max(place or 0 for opcode, _, place in pickletools.genops(data))
    except Exception:
        return False  # no opcodes
    return end == len(data) - 1 or data[0] == 0x80


def test_a_whole_run_a_resume_an_evaluation_and_a_load(tmp_path: Path, letters_folder: Path) -> None:
    path = os.pathsep.join([str(letters_folder), *(entry or os.getcwd() for entry in sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), *TASKS], env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen["used"] == []
    caught = [event for event, *_ in seen["control"]]
    assert {"pickle.find_class", "torch.load", "torch.save", "pickle.load", "pickle.dump"} <= set(caught)
    for id in TASKS:
        files = [path for path in (tmp_path / id.replace("/", "-")).rglob("*") if path.is_file()]
        assert len(files) > 10
        assert not [path for path in files if pickled(path.read_bytes(), path.name)]
    assert pickled((tmp_path / "control.json").read_bytes())


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_seen_whatever_it_is_called(protocol: int) -> None:
    assert pickled(pickle.dumps({"step": 1}, protocol), "metrics.jsonl")


@pytest.mark.parametrize(
    "write",
    [
        lambda file: torch.save([1], file),
        lambda file: torch.save([1], file, _use_new_zipfile_serialization=False),
        lambda file: np.savez(file, given=np.array([{}], dtype=object)),
        lambda file: np.save(file, np.array([{}], dtype=object)),
    ],
    ids=["torch", "old torch", "npz", "npy"],
)
def test_so_is_one_within_another_file(write: Callable[[io.BytesIO], None]) -> None:
    write(file := io.BytesIO())
    assert pickled(file.getvalue(), "state.safetensors")


def test_what_is_none_is_not_taken_for_one() -> None:
    numbers = io.BytesIO()
    np.savez(numbers, given=np.arange(3))
    for data in (b"", b'{"step": 1}\n', b"a: 1\n", b"N", numbers.getvalue()):
        assert not pickled(data, "file")
    assert pickled(b"", "weights.pt")
