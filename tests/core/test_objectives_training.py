"""What every objective must satisfy: the same draws give the same samples, any cut of a step gives one gradient, something
is learned, and a task can start from what was learned.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from anyformer import api, cli
from anyformer.artifact import build_model
from anyformer.data.packs import collate
from anyformer.nn import Model, config
from anyformer.objectives import OBJECTIVES
from anyformer.task import Array, Frozen, Objective, Sample, Tokenizer

START, END, MASK = range(3)
STACK = config.Stack(width=16, depth=1, attention=config.Attention(heads=2))
CAUSAL = STACK.model_copy(update={"causal": True})
TRUNKS = {
    "encoder": config.Trunk(encoder=STACK),
    "decoder": config.Trunk(decoder=CAUSAL),
    "both": config.Trunk(encoder=STACK, decoder=CAUSAL.model_copy(update={"cross": True})),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "next-token": {"context": 12},
    "masked-token": {},
    "span-corruption": {"rate": 0.3},
    "denoising": {},
    "masked-patch": {"normalised": False, "decoder": {"width": 16, "depth": 1}},
}


class Counting(Tokenizer):
    """A raw item is where a count around eight ids begins and how long it is; or patches that all are the same."""

    end_id, mask_id = END, MASK
    special_ids = frozenset((START, END, MASK))

    def __init__(self, patches: bool) -> None:
        super().__init__(Frozen())
        self.patch_width, self.vocabulary_size = (4, 0) if patches else (0, 11)

    def encode(self, raw: Any) -> dict[str, Array]:
        first, length = raw
        if self.patch_width:
            patch = np.random.default_rng(first).choice([-1, 1], 4)
            return {"patches": np.tile(patch, (length, 1)).astype(np.float32)}
        return {"ids": 3 + (first + np.arange(length)) % 8}


def objective_of(name: str) -> Objective:
    kind = OBJECTIVES[name]
    return kind(kind.Config.model_validate(SETTINGS[name]), Counting(patches=name == "masked-patch"))


def samples_of(objective: Objective, seed: int, count: int = 32) -> list[Sample]:
    rng = np.random.default_rng(seed)
    records = objective.records([(int(rng.integers(8)), int(rng.integers(2, 24))) for _ in range(count)])
    return [sample for index in range(len(records)) for sample in objective.learn(records[index], rng)]


def loss_of(model: Model, name: str, samples: list[Sample]) -> torch.Tensor:
    parts, targets = collate(samples)
    return model(parts, targets, name)["loss"] / model[name].head.weigh(targets)["loss"]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_generator_decides_the_samples(name: str) -> None:
    def drawn(seed: int) -> list[list[Any]]:
        samples = samples_of(objective_of(name), seed)
        return [[value.tolist() for value in (*one.parts.values(), *one.targets.values())] for one in samples]

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_any_cut_gives_the_gradient_of_the_whole_step(name: str, unit_scale: Callable, relative: Callable) -> None:
    objective = objective_of(name)
    model = build_model(TRUNKS[objective.trunk], {name: objective}).double()
    unit_scale(model)
    samples = samples_of(objective, 0)
    head = model[name].head
    total = head.weigh(collate(samples)[1])["loss"]
    found = []
    for cuts in ([0, len(samples)], [0, 1, 2, 15, len(samples)], [*range(len(samples) + 1)]):
        model.zero_grad()
        for start, end in pairwise(cuts):
            (model(*collate(samples[start:end]), name)["loss"] / total).backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert relative(found[1], found[0]) <= 1e-10
    assert relative(found[2], found[0]) <= 1e-10


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_simple_order_is_learned(name: str) -> None:
    torch.manual_seed(0)
    objective = objective_of(name)
    model = build_model(TRUNKS[objective.trunk], {name: objective})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    held_out = samples_of(objective, 10_000)
    with torch.no_grad():
        before = float(loss_of(model, name, held_out))
    for step in range(120):
        optimizer.zero_grad()
        loss_of(model, name, samples_of(objective, step, 8)).backward()
        optimizer.step()
    with torch.no_grad():
        after = float(loss_of(model, name, held_out))
    assert after < 0.5 * before, (before, after)


# -- runs

SHORT = ["training.steps=4", "training.records=4", "training.schedule.warmup=2"]


def start_of(run: Any) -> list[str]:
    found: list[str] = yaml.safe_load((run.folder / "run.yaml").read_text())["start"]
    return found


@pytest.mark.parametrize("name", ["span-corruption", "denoising"])
def test_a_task_starts_from_sequences(name: str, letters: ModuleType, tmp_path: Path) -> None:
    rows = [{"text": row["text"]} for row in letters.words(20, longest=20)]
    small = [f"trunk.{half}.{field}" for half in ("encoder", "decoder") for field in ("width=16", "attention.heads=2")]
    first = api.pretrain(name, tokenizer="letters/seen", data=rows, out=tmp_path / "first", overrides=[*SHORT, *small])
    assert first.scores["valid/loss"] > 0
    again = api.load(first.folder).model[name].task
    assert isinstance(again, OBJECTIVES[name])
    second = api.finetune("letters/reverse", data=letters.words(12), out=tmp_path / "second", model=first.folder,
                          overrides=SHORT)  # fmt: skip
    assert start_of(second) == [
        "trunk: taken over", f"embedding: taken over from {name}", f"head: taken over from {name}"
    ]  # fmt: skip


def test_a_task_starts_from_patches_of_images(tmp_path: Path) -> None:
    pytest.importorskip("anyformer_vision", reason="the plugin anyformer-vision is not installed")
    from anyformer_vision.image_classification import ImageClassification

    rows = ImageClassification.examples()
    small = ["trunk.encoder.width=16", "trunk.encoder.attention.heads=2", "config.decoder.width=16",
             "tokenizers.tokenizer.patch=4"]  # fmt: skip
    first = api.pretrain("masked-patch", tokenizer="vision/patches", data=[{"image": row["image"]} for row in rows],
                         valid="none", out=tmp_path / "first", overrides=[*SHORT, *small])  # fmt: skip
    second = api.finetune("vision/image-classification", data=rows, valid="none", out=tmp_path / "second",
                          model=first.folder, overrides=SHORT)  # fmt: skip
    assert start_of(second) == ["trunk: taken over", "embedding: taken over from masked-patch", "head: new"]


def test_a_task_starts_from_patches_of_series(tmp_path: Path) -> None:
    pytest.importorskip("anyformer_finance", reason="the plugin anyformer-finance is not installed")
    from anyformer_finance.forecast import Forecast

    series = tmp_path / "series.jsonl"
    rng = np.random.default_rng(0)
    series.write_text("".join(json.dumps({"values": (900 + rng.normal(size=96).cumsum()).tolist()}) + "\n"
                              for _ in range(12)))  # fmt: skip
    asked: dict[str, Any] = {"tokenizer": "finance/patches", "data": str(series)}
    small = [*SHORT, "trunk.encoder.width=16", "trunk.encoder.attention.heads=2", "config.scaled=true"]
    with pytest.raises(ValueError, match="shares 8 values with the next"):
        api.pretrain("masked-patch", out=tmp_path / "no", overrides=small, **asked)
    apart = ["tokenizers.tokenizer.stride=16"]
    first = api.pretrain("masked-patch", out=tmp_path / "first", overrides=[*small, *apart], **asked)
    assert first.scores["valid/loss"] < 3
    second = api.finetune("finance/forecast", data=Forecast.examples(), out=tmp_path / "second", model=first.folder,
                          valid="none", overrides=[*SHORT, "config.look_back=96", "config.horizon=24"])  # fmt: skip
    assert start_of(second) == ["trunk: taken over", "embedding: taken over from masked-patch", "head: new"]


def test_the_shell_lists_every_objective(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert cli.main(["pretrain", "--help"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in OBJECTIVES), said
