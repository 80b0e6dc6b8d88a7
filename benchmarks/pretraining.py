"""What pretraining on proteins without labels gives to secondary structure: `uv run python -m benchmarks.pretraining`.

A trunk learns hidden residues of the yeast proteome. Then secondary structure is learned from a thousand proteins in the
same number of steps, with the same settings: from the pretrained trunk, and from scratch. A third run from scratch has as
many steps as pretraining and fine-tuning together. Each is a command of the shell, printed before it runs; the data lies in
`../shared/data` beside the repository. Scores on the held-out proteins go to `results/pretraining.json`.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.machine import keep

ROOT = Path(__file__).parent.parent
DATA = "../shared/data/protein"
PRETRAINING, STEPS = 700, 250
TRUNK = [
    "trunk.encoder.width=128",
    "trunk.encoder.depth=4",
    "trunk.encoder.dropout=0.1",
    "trunk.encoder.position.kind=rotary",
]
TRAINING = [
    "training.records=8",
    "training.optimizer.lr=1e-3",
    "training.schedule.warmup=50",
    "training.save_every=null",
]
OBJECTIVE = [
    "pretrain", "masked-token", "--tokenizer", "bio/protein", "--data", f"{DATA}/yeast_proteome/train.fasta.gz", "--valid",
    f"{DATA}/yeast_proteome/valid.fasta.gz", *TRUNK, f"training.steps={PRETRAINING}", *TRAINING,
]  # fmt: skip
TASK = [
    "finetune", "bio/secondary-structure", "--data", f"{DATA}/flip_secondary_structure/train.jsonl.gz[:1000]", "--valid",
    f"{DATA}/flip_secondary_structure/valid.jsonl.gz", *TRAINING,
]  # fmt: skip
RUNS: dict[str, list[str]] = {
    "pretraining": OBJECTIVE,
    "pretrained": [*TASK, "--model", "runs/pretraining/pretraining", f"training.steps={STEPS}"],
    "scratch": [*TASK, *TRUNK, f"training.steps={STEPS}"],
    "scratch, steps of both": [*TASK, *TRUNK, f"training.steps={PRETRAINING + STEPS}"],
}


def main() -> None:
    """Train, print and keep."""
    folder = ROOT / "runs" / "pretraining"
    shutil.rmtree(folder, ignore_errors=True)
    rows: dict[str, Any] = {}
    for name, words in RUNS.items():
        out = f"runs/pretraining/{name.replace(', ', '-').replace(' ', '-')}"
        command = ["anyformer", *words, "--out", out]
        print(f"$ {shlex.join(command)}", flush=True)
        subprocess.run([Path(sys.executable).with_name("anyformer"), *command[1:]], cwd=ROOT, check=True)
        lines = [json.loads(line) for line in (ROOT / out / "metrics.jsonl").read_text().splitlines()]
        rows[name] = {"command": shlex.join(command), "training_minutes": round(lines[-1]["seconds"] / 60, 1)}
        if (ROOT / out / "scores.json").is_file():
            found = json.loads((ROOT / out / "scores.json").read_text())
            rows[name] |= {"scores": found["scores"], "baselines": found["baselines"], "verdict": found["verdict"]}
        else:
            losses = [line["train/loss"] for line in lines if line.get("train/loss") is not None]
            rows[name] |= {"first_loss": losses[0], "last_loss": losses[-1]}
    keep("pretraining", rows)
    for name, row in rows.items():
        if "scores" in row:
            metric, score = next(iter(row["scores"].items()))
            span = f"({score['low']:.4f} to {score['high']:.4f})"
            print(f"{name:<24} {metric} {score['value']:.4f} {span}, {row['training_minutes']} min")


if __name__ == "__main__":
    main()
