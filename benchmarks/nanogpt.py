"""nanoGPT's protocol for a CPU, on the works of Shakespeare: `uv run python -m benchmarks.nanogpt [--rounds 7] [--quick]`.

* A decoder of 4 blocks, 4 heads and width 128 learns 12 windows of 64 characters a step, 2,000 steps, without dropout. Its
  loss is that of the whole held-out text in windows of 64, where nanoGPT samples some.
* Characters are bytes here, as the text has no others, in a vocabulary of 259; all sides have the same.
* Speed: steps a second of `Engine.advance`, beside a plain loop of the same model, as it is and compiled, and beside
  transformers' Trainer with its GPT-2 of the same shape; each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anyformer import api, plugins
from anyformer.train.courses import Course
from anyformer.train.engine import Engine
from anyformer.train.prepare import new_model, new_objective, objective_settings
from benchmarks.machine import keep
from benchmarks.peer_trainer import Peer
from benchmarks.plain_gpt import GPT, Loop
from benchmarks.rounds import as_json, between, interleave_apart, show

DATA = Path(__file__).parent.parent.parent / "shared" / "data" / "nlp" / "tiny_shakespeare"
LEARNED = 1_003_854
"""Characters of the text that nanoGPT learns from; the others are held out."""
BATCH, CONTEXT = 12, 64
TRAINING: dict[str, Any] = {
    "steps": 2000,
    "records": BATCH,
    "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.1, "betas": (0.9, 0.99)},
    "schedule": {"name": "cosine", "warmup": 100, "final": 0.1},
    "clip": 1.0,
    "log_every": 10,
}
SETTINGS = {
    "config": {"context": CONTEXT},
    "tokenizers": {"tokenizer": {"max_characters": 2_000_000}},
    "training": TRAINING,
}
PRESET, TOKENIZER = "nlp/nanogpt-cpu", "nlp/bytes"
PLAIN, PLAIN_COMPILED, TRAINER = "plain loop", "plain loop, compiled", "transformers' Trainer"
OURS, OURS_COMPILED = "anyformer", "anyformer, compiled"
GOALS = [(OURS, PLAIN, 1.05), (OURS_COMPILED, PLAIN, 1.15), (OURS, TRAINER, 1.5)]
"""Faster, slower, and the lower quartile that is asked for."""


def text() -> tuple[str, str]:
    """What is learned and what is held out."""
    whole = "".join((DATA / name).read_text("utf-8") for name in ("train.txt", "valid.txt"))
    return whole[:LEARNED], whole[LEARNED:]


def valid_loss(steps: int) -> tuple[float, float]:
    """The loss of the whole held-out text after `steps`, and the seconds that training took."""
    learned, held_out = text()
    training = TRAINING | {"steps": steps}
    with tempfile.TemporaryDirectory() as folder:
        run = api.pretrain(
            "next-token", tokenizer=TOKENIZER, data=[{"text": learned}], valid=[{"text": held_out}],
            out=Path(folder) / "run", preset=PRESET, settings=SETTINGS | {"training": training},
        )  # fmt: skip
        lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
        return run.scores["valid/loss"], lines[-1]["seconds"]


def engine(compiled: bool) -> Engine:
    """Our training, ready for its first step."""
    trunk = plugins.presets()[PRESET]().trunk
    kind = plugins.tokenizer(TOKENIZER)
    settings = objective_settings("next-token", kind, [SETTINGS, {"training": {"compile": compiled}}], (), trunk)
    raw = [{"text": text()[0]}]
    bound = new_objective("next-token", TOKENIZER, settings, raw, None)
    model = new_model({"next-token": bound}, settings, None)[0].model
    return Engine(model, [Course("next-token", bound.records(raw))], settings.training, torch.device("cpu"))


def ours(compiled: bool, steps: int) -> Callable[[], float]:
    """Steps a second of our training."""
    running = engine(compiled)

    def rate() -> float:
        began = time.perf_counter()
        for _ in range(steps):
            running.advance()
        return steps / (time.perf_counter() - began)

    return rate


def shape() -> dict[str, int]:
    """Of the model, on all sides."""
    stack = plugins.presets()[PRESET]().trunk.output
    kind = plugins.tokenizer(TOKENIZER)
    size = kind(kind.Config()).vocabulary_size
    return {"vocabulary": size, "depth": stack.depth, "heads": stack.attention.heads, "width": stack.width}


def plain(compiled: bool, steps: int) -> Callable[[], float]:
    """Steps a second of the plain loop."""
    ids = np.frombuffer(text()[0].encode(), np.uint8).astype(np.uint16)
    torch.manual_seed(0)
    loop = Loop(GPT(context=CONTEXT, **shape()), ids, BATCH, CONTEXT, TRAINING, compiled)
    return lambda: loop.rate(steps)


def trainer(steps: int) -> Callable[[], float]:
    """Steps a second of transformers' Trainer."""
    from transformers import GPT2Config, GPT2LMHeadModel, default_data_collator

    of = shape()
    config = GPT2Config(
        vocab_size=of["vocabulary"], n_positions=CONTEXT, n_embd=of["width"], n_layer=of["depth"], n_head=of["heads"],
        activation_function="gelu", resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False, bos_token_id=0,
        eos_token_id=1,
    )  # fmt: skip
    ids = torch.from_numpy(np.frombuffer(text()[0].encode(), np.uint8).astype(np.int64))
    windows = ids[: len(ids) // CONTEXT * CONTEXT].view(-1, CONTEXT)
    rows: list[dict[str, Any]] = [{"input_ids": window, "labels": window} for window in windows]
    peer = Peer(
        GPT2LMHeadModel(config), rows, default_data_collator, per_device_train_batch_size=BATCH, learning_rate=1e-3,
        weight_decay=0.1, adam_beta2=0.99, max_grad_norm=1.0, lr_scheduler_type="cosine", warmup_steps=100,
        logging_steps=TRAINING["log_every"],
    )  # fmt: skip
    return lambda: peer.rate(steps)


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="few steps, to see that it works; nothing is kept")
    asked = parser.parse_args()
    steps, rounds = (5, 2) if asked.quick else (100, asked.rounds)
    makers = {
        PLAIN: (plain, False, steps), PLAIN_COMPILED: (plain, True, steps), TRAINER: (trainer, steps),
        OURS: (ours, False, steps), OURS_COMPILED: (ours, True, steps),
    }  # fmt: skip
    rows = interleave_apart(makers, rounds, PLAIN)
    show(rows, "steps/s")
    pairs = [*GOALS, (OURS_COMPILED, PLAIN_COMPILED, None)]
    ratios = {f"{fast} / {slow}": (between(rows, fast, slow), goal) for fast, slow, goal in pairs}
    for name, (found, goal) in ratios.items():
        print(f"{name}: {found}{'' if goal is None else f', asked for {goal}'}")
    loss, seconds = valid_loss(20 if asked.quick else TRAINING["steps"])
    print(f"held-out loss {loss:.4f}, asked for 1.88, after {seconds:.0f} s of training")
    if not asked.quick:
        said = {name: vars(found) | {"goal": goal} for name, (found, goal) in ratios.items()}
        keep("nanogpt", {"threads": torch.get_num_threads(), "steps_per_round": steps, "valid_loss": loss,
                         "training_seconds": seconds, "rates": as_json(rows), "ratios": said})  # fmt: skip
    print(f"ratio {rows[OURS].ratio.low:.3f}")


if __name__ == "__main__":
    main()
