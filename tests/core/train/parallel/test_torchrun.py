"""The shell under `torchrun`: two processes train one run, one of them is killed, and the run ends as if it had not been."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from anyformer.testing.subject import Subject

TASK = "nlp/text-classification"
KILLED_AT, STEPS = 17, 30
SECONDS = 240
PROCESS = """
import os, signal, sys
from anyformer.cli import main
from anyformer.train.engine import Engine

def advance(engine, step=Engine.advance, killed_at=int(sys.argv[1])):
    if engine.step == killed_at and os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os.kill(os.getpid(), signal.SIGKILL)
    return step(engine)

Engine.advance = advance
sys.exit(main(sys.argv[2:]))
"""


def under_torchrun(folder: Path, out: str, killed_at: int, *settings: str) -> subprocess.CompletedProcess[str]:
    """Two processes fine-tune the task of the test, and are started once more if one is lost."""
    script = folder / "process.py"
    script.write_text(PROCESS)
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in Subject.of(TASK).rows))
    trunk = ["width=32", "depth=2", "attention.heads=2", "dropout=0.1"]
    given = [f"steps={STEPS}", "save_every=5", "log_every=1", "records=6", "device=cpu"]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1",
        str(script), str(killed_at), "finetune", TASK, "--data", str(rows), "--valid", "none", "--out", str(folder / out),
        *(f"training.{one}" for one in given), *(f"trunk.encoder.{one}" for one in trunk), *settings,
    ]  # fmt: skip
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("way", [(), ("training.parallel.shard=2",)], ids=["replicas", "shards"])
def test_a_process_that_is_lost(tmp_path: Path, way: tuple[str, ...]) -> None:
    """With dropout: the restarted run takes up the last checkpoint and ends bit for bit like the undisturbed one."""
    for name, killed_at in (("whole", -1), ("lost", KILLED_AT)):
        done = under_torchrun(tmp_path, name, killed_at, *way)
        assert done.returncode == 0, f"{name}: {done.stderr[:3000]}"
    whole, lost = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "lost"))
    assert all(bool((whole[name] == lost[name]).all()) for name in whole)
    logs = [
        [{**json.loads(line), "seconds": None} for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "lost")
    ]
    assert [line["step"] for line in logs[1]] == list(range(1, STEPS + 1))
    assert logs[0] == logs[1]
    assert "SIGKILL" in done.stderr or "-9" in done.stderr, "nothing was killed"


@pytest.mark.slow
def test_a_number_of_processes_that_does_not_fit(tmp_path: Path) -> None:
    done = under_torchrun(tmp_path, "run", -1, "training.parallel.shard=3")
    assert done.returncode != 0
    assert "training.parallel asks for 3 x 1 processes, or a multiple of them; there are 2" in done.stderr
    assert not (tmp_path / "run").exists()
