"""Continuous batching beside static batches: `uv run python -m benchmarks.continuous_batching`.

64 requests whose answers have lengths of a geometric law with mean 64, 512 at most, eight at a time. A static batch runs
until its longest answer ends, and the next begins then; a continuous one gives the place of an answer that ends to the next
request. Both are the same decoder with the same weights, and write the same tokens.

The lengths are forced: no id ends an answer, and each request bears its own limit. A static batch writes all eight answers
as long as its longest and cuts them, as a padded batch does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from anyformer.heads import LanguageModel
from anyformer.infer.generate import generate
from anyformer.infer.options import Generation
from anyformer.infer.prepare import prepare
from anyformer.nn import Component, Model, build, config
from anyformer.task import Sample
from benchmarks.machine import keep
from benchmarks.rounds import as_json, interleave, show

BATCH = 8
REQUESTS = 64
MEAN, CAP = 64, 512
PROMPT = 16
VOCABULARY = 4096
NAME = "any/text"


def decoder(width: int, depth: int) -> Model:
    """A decoder with random weights, ready to answer."""
    torch.manual_seed(0)
    stack = config.Stack(
        width=width, depth=depth, causal=True, attention=config.Attention(heads=width // 64),
        position=config.Position(kind="rotary"),
    )  # fmt: skip
    trunk = config.Trunk(encoder=None, decoder=stack)
    tokenizer = SimpleNamespace(vocabulary_size=VOCABULARY, patch_width=0)
    task: Any = SimpleNamespace()
    component = Component(
        task, build.embedding_for(trunk, {"text": tokenizer}), LanguageModel(width, VOCABULARY, tied=False)
    )
    return prepare(Model(build.trunk(trunk), {NAME: component}).eval())


def requests(cap: int) -> tuple[list[Sample], list[int]]:
    """Prompts, and how long each answer is."""
    rng = np.random.default_rng(0)
    lengths = np.minimum(rng.geometric(1 / MEAN, REQUESTS), cap).tolist()
    return [Sample({"target": rng.integers(0, VOCABULARY, PROMPT)}) for _ in lengths], lengths


def written(model: Model, samples: list[Sample], limits: list[int]) -> list[list[int]]:
    """The answers to samples, at most `BATCH` at a time."""
    bound = [
        Sample(sample.parts, notes={"max_new_tokens": limit}) for sample, limit in zip(samples, limits, strict=True)
    ]
    options = Generation(max_new_tokens=CAP, at_once=BATCH)
    found = dict(generate(model, NAME, bound, options, [0] * len(bound)))
    return [found[index].values["ids"].tolist() for index in range(len(bound))]


def static(model: Model, samples: list[Sample], lengths: list[int]) -> list[list[int]]:
    """The answers, batch after batch, each as long as its longest answer."""
    answers: list[list[int]] = []
    for first in range(0, len(samples), BATCH):
        rows = slice(first, first + BATCH)
        longest = max(lengths[rows])
        whole = written(model, samples[rows], [longest] * len(samples[rows]))
        answers += [ids[:length] for ids, length in zip(whole, lengths[rows], strict=True)]
    return answers


def main() -> None:
    """Run both ways in turns; print the tokens a second of each, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--cap", type=int, default=CAP, help="the longest answer; less for a quick look")
    given = parser.parse_args()
    model = decoder(given.width, given.depth)
    samples, lengths = requests(given.cap)
    answers: dict[str, list[list[int]]] = {}

    def timed(name: str, ways: Callable[..., list[list[int]]]) -> Callable[[], float]:
        def run() -> float:
            began = time.perf_counter()
            answers[name] = ways(model, samples, lengths)
            return sum(lengths) / (time.perf_counter() - began)

        return run

    rows = interleave(
        {"static": timed("static", static), "continuous": timed("continuous", written)}, given.rounds, "static"
    )
    if answers["static"] != answers["continuous"]:
        raise SystemExit("the two ways wrote different tokens")
    show(rows, "tokens/s")
    steps = sum(max(lengths[first : first + BATCH]) for first in range(0, REQUESTS, BATCH))
    print(f"the same {sum(lengths):,} tokens; a static batch writes {BATCH * steps / sum(lengths):.3g} times as many")
    if (given.rounds, given.width, given.depth, given.cap) == (5, 512, 6, CAP):
        keep("continuous_batching", as_json(rows))
    print(f"ratio {rows['continuous'].ratio.median:.3g}")


if __name__ == "__main__":
    main()
