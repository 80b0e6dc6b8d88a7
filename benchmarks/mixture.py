"""One trunk for four domains, beside four trunks for one each: `uv run python -m benchmarks.mixture [--ranks 2]`.

Text, images, proteins and series are learned together by one small trunk. Each twin is one of the four alone: the same
settings, the same number of steps, and as many of its own records in each step as the mixture takes of them. Twins see no
other data, so the table shows what sharing the trunk costs or gives at this budget; it is no claim about larger ones.

The data lies in `../shared/data` beside the repository. With `--ranks`, the mixture is started by torchrun. A table is
printed and kept in `results/mixture.json`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from anyformer.artifact import load
from anyformer.report.scores import best_baseline
from anyformer.train.courses import Course, quotas
from anyformer.train.run import Run
from benchmarks.machine import keep

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data"
STEPS = 300
RECORDS = 32
ETT = "finance/ett/ETTh1.csv.gz"
PROTEINS = "protein/flip_secondary_structure"
PARTS: list[dict[str, Any]] = [
    {"task": "nlp/text-classification", "data": "nlp/sst2/train.tsv", "valid": "nlp/sst2/dev.tsv",
     "columns": "text,label", "config": {"context": 64}, "weight": 2},
    {"task": "vision/image-classification", "data": "vision/fashion_mnist5/train.npz",
     "valid": "vision/fashion_mnist5/valid.npz", "tokenizers": {"image": {"patch": 7}}, "weight": 2},
    {"task": "bio/secondary-structure", "data": f"{PROTEINS}/train.jsonl.gz[:2000]",
     "valid": f"{PROTEINS}/valid.jsonl.gz[:200]", "config": {"context": 256, "overlap": 64}, "weight": 1},
    {"task": "finance/forecast", "data": f"{ETT}[0:8640]", "valid": f"{ETT}[11184:12600]",
     "config": {"look_back": 96, "horizon": 24}, "weight": 1},
]  # fmt: skip
TRUNK = {
    "encoder": {"width": 96, "depth": 3, "attention": {"heads": 4}, "dropout": 0.1, "position": {"kind": "rotary"}}
}


def training(records: int, steps: int) -> dict[str, Any]:
    """What the mixture and its twins share, but for the number of records."""
    return {
        "steps": steps, "records": records, "log_every": max(1, steps // 30), "save_every": None,
        "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.05},
        "schedule": {"name": "cosine", "warmup": min(30, steps // 4)},
    }  # fmt: skip


def entries() -> list[dict[str, Any]]:
    """The parts with the paths of their data."""
    return [{**part, "data": str(DATA / part["data"]), "valid": str(DATA / part["valid"])} for part in PARTS]


def train_mixture(folder: Path, steps: int, ranks: int) -> Run:
    """All four on one trunk, in the shell as a user would."""
    page = folder / "mixture.yaml"
    page.write_text(yaml.safe_dump({"mixture": entries(), "trunk": TRUNK, "training": training(RECORDS, steps)}))
    start = [] if ranks == 1 else ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"]
    asked = [sys.executable, "-m", *start, "anyformer", "pretrain", str(page), "--out", str(folder / "all")]
    subprocess.run(asked, check=True)
    return Run(folder / "all")


def train_twin(folder: Path, part: dict[str, Any], steps: int, records: int) -> Run:
    """One of them alone."""
    out, settings = folder / part["task"].replace("/", "-"), folder / "twin.yaml"
    own = {name: part[name] for name in ("config", "tokenizers") if name in part}
    settings.write_text(yaml.safe_dump({**own, "trunk": TRUNK, "training": training(records, steps)}))
    asked = [sys.executable, "-m", "anyformer", "finetune", part["task"], "--data", part["data"], "--valid", part["valid"],
             "--out", str(out), "-c", str(settings)]  # fmt: skip
    subprocess.run([*asked, *(["--columns", part["columns"]] if "columns" in part else [])], check=True)
    return Run(out)


def losses(run: Run, name: str) -> tuple[float, float]:
    """The first and the last logged mean of a training loss."""
    values = [line[name] for line in run.log.lines() if line.get(name) is not None]
    return values[0], values[-1]


def row(mixture: Run, twin: Run, task: str) -> dict[str, Any]:
    """What the table says of one task."""
    ours, alone = mixture.scores[task], twin.scores
    metric = load(twin.model).model[task].task.metrics()[0]
    name = metric.names[0]
    baseline, value = best_baseline(metric, alone["baselines"])
    return {
        "metric": name, "higher_is_better": metric.higher_is_better, "mixture": ours["scores"][name],
        "twin": alone["scores"][name], "baseline": {"name": baseline, "value": value}, "verdict": ours["verdict"],
        "loss": losses(mixture, f"train/loss/{task}"), "twin_loss": losses(twin, "train/loss"),
    }  # fmt: skip


def show(rows: dict[str, dict[str, Any]]) -> None:
    """Print the table."""
    print(f"{'task':<28} {'metric':<10} {'mixture':>8} {'twin':>8} {'best baseline':>22} {'loss, first to last':>20}")
    for task, found in rows.items():
        first, last = found["loss"]
        baseline = f"{found['baseline']['name']} {found['baseline']['value']:.4f}"
        values = f"{found['mixture']['value']:>8.4f} {found['twin']['value']:>8.4f}"
        print(f"{task:<28} {found['metric']:<10} {values} {baseline:>22} {f'{first:.3f} to {last:.3f}':>20}")


def main() -> None:
    """Train the mixture and its twins, print the table and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--ranks", type=int, default=1, help="processes that train the mixture")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, help="keep the runs here; by default they are removed")
    given = parser.parse_args()
    folder = given.out or Path(tempfile.mkdtemp(prefix="mixture-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        mixture = train_mixture(folder, given.steps, given.ranks)
        found = entries()
        taken = quotas([Course(part["task"], (), part["weight"]) for part in found], RECORDS)
        rows = {
            part["task"]: row(mixture, train_twin(folder, part, given.steps, records), part["task"])
            for part, records in zip(found, taken, strict=True)
        }
        seconds = mixture.log.lines()[-1].get("seconds")
    finally:
        if given.out is None:
            shutil.rmtree(folder)
    show(rows)
    if given.steps == STEPS:
        keep("mixture", {f"{given.ranks} ranks": {"steps": given.steps, "seconds": seconds, "tasks": rows}})


if __name__ == "__main__":
    main()
