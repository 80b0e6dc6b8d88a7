"""Eight real images learned by heart, from scratch: `uv run python -m benchmarks.detection_overfit [detr] [yolos]`.

Each model is one command of the shell, printed before it runs. The images are the first eight of a set of blood cells (BCCD;
145 boxes of three labels) in `../shared/data` beside the repository, and are trained on and scored: this shows that a
model and its loss can fit what they are told, and says nothing of other images. A finished run under `runs/` is
read, not repeated. AP at an IoU of 0.5 and minutes of training go to `results/detection_overfit.json`.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

from benchmarks.machine import keep

ROOT = Path(__file__).parent.parent
IMAGES = "../shared/data/vision/bccd/train.zip[0:8]"
COMMON = {
    "config.flip": False, "config.num_queries": 24, "config.teach_every_block": True, "training.records": 8,
    "training.optimizer.weight_decay": 0, "training.seed": 0, "training.save_every": 1000,
}  # fmt: skip
MODELS: dict[str, dict[str, object]] = {
    "detr": {
        "tokenizers.image.longest": 160, "tokenizers.image.multiple": 16, "config.backbone": "resnet10t",
        "config.dilation": True, "trunk.encoder.width": 128, "trunk.encoder.depth": 2, "trunk.encoder.attention.heads": 4,
        "trunk.decoder.width": 128, "trunk.decoder.depth": 3, "trunk.decoder.attention.heads": 4,
        "trunk.decoder.position.kind": "none", "trunk.decoder.cross": True, "training.steps": 1600,
        "training.optimizer.lr": 3e-4, "training.schedule.warmup": 100,
    },
    "yolos": {
        "tokenizers.image.longest": 224, "tokenizers.image.multiple": 16, "config.patch": 16, "config.grid": [10, 14],
        "config.class_layers": 3, "trunk.encoder.width": 128, "trunk.encoder.depth": 4, "trunk.encoder.attention.heads": 4,
        "training.steps": 4000, "training.optimizer.lr": 5e-4, "training.schedule.warmup": 100,
    },
}  # fmt: skip
"""Settings by name: an encoder and a decoder on a small residual network, and an encoder alone."""


def command(name: str) -> list[str]:
    """The command of one run, as it would be typed in the repository."""
    settings = [f"{key}={json.dumps(value)}" for key, value in {**COMMON, **MODELS[name]}.items()]
    return ["anyformer", "finetune", "vision/object-detection", "--data", IMAGES, "--valid", IMAGES,
            "--out", f"runs/overfit-{name}", *settings]  # fmt: skip


def main(names: list[str]) -> None:
    """Train what is not there yet, then print and keep all that is."""
    rows = {}
    for name in names or list(MODELS):
        folder = ROOT / "runs" / f"overfit-{name}"
        print(f"$ {shlex.join(command(name))}", flush=True)
        if not (folder / "scores.json").is_file():
            subprocess.run([Path(sys.executable).with_name("anyformer"), *command(name)[1:]], cwd=ROOT, check=True)
        found = json.loads((folder / "scores.json").read_text())
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        seconds = max(line["seconds"] for line in lines if "seconds" in line)
        rows[name] = {
            "command": shlex.join(command(name)), "scores": found["scores"], "baselines": found["baselines"],
            "training_minutes": round(seconds / 60, 1),
        }  # fmt: skip
        print(
            f"{name}: AP50 {found['scores']['ap50']['value']:.4f}, {seconds / 60:.1f} minutes of training", flush=True
        )
    keep("detection_overfit", rows)


if __name__ == "__main__":
    main(sys.argv[1:])
