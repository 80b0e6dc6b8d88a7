"""GPT-2 small (Radford et al. 2019): ids of prompts to the likeliest ids after them, prompts read in the time.

* All prompts are of one length, as the home library would pad others. No id ends an answer, so all are of one length too.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from anyformer.infer.options import Generation
from anyformer.infer.solvers import generate
from anyformer.plan.flops import forward_flops
from anyformer.task import Array, Sample
from benchmarks.inference.case import Asked, Case, share_of_other_tokens
from benchmarks.inference.limits import Phase
from benchmarks.inference.sides import Ours, lowered, read

PROMPT = 32
SPREAD = 0.06
"""Of new weights; at the usual 0.02 a new model repeats one token, whatever it reads."""
SHAPES = {"gpt2-1": (1, 64), "gpt2-8": (8, 24)}
"""Prompts, and new tokens of each."""


def build(asked: Asked) -> Case:
    """The case of a name."""
    from transformers import GPT2Config, GPT2LMHeadModel

    number, num_new = SHAPES[asked.name]
    home: Any = GPT2LMHeadModel(GPT2Config(initializer_range=SPREAD)).eval()
    home.generation_config.eos_token_id = None
    prompts = np.random.default_rng(0).integers(0, home.config.vocab_size, (number, PROMPT))
    ids = torch.from_numpy(prompts)
    theirs = {"transformers": lambda: written(home, ids, num_new)}
    low: Any = lowered(home, asked.precision)
    if asked.precision == "bf16":
        theirs["transformers, bf16"] = lambda: written(low, ids, num_new)
    if not asked.quick and low is not None:
        fast = copy.deepcopy(low)
        fast.forward = torch.compile(fast.forward)
        name = f"transformers, {asked.precision}, fixed cache, compiled"
        theirs[name] = lambda: written(fast, ids, num_new, cache_implementation="static")
    ours = read(home, asked.precision)
    samples = [Sample({"target": prompt}) for prompt in prompts]
    options = Generation(max_new_tokens=num_new)
    return Case(
        "from ids of prompts to ids of answers", "tokens/s", number * num_new, lambda: answered(ours, samples, options),
        theirs, phases(ours, home.config.vocab_size, number, num_new), share_of_other_tokens, tolerance=0,
    )  # fmt: skip


def written(home: Any, ids: torch.Tensor, num_new: int, **more: Any) -> list[list[int]]:
    """New ids of the home library."""
    with torch.no_grad():
        found = home.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=num_new, do_sample=False, pad_token_id=0, **more
        )
    new: list[list[int]] = found[:, ids.shape[1] :].tolist()
    return new


def answered(ours: Ours, samples: Sequence[Sample], options: Generation) -> list[Array]:
    """Our new ids of each sample."""
    found = dict(generate(ours.model, ours.component, samples, options, [0] * len(samples)))
    return [found[index].values["ids"].tolist() for index in range(len(samples))]


def phases(ours: Ours, vocabulary: int, number: int, num_new: int) -> list[Phase]:
    """Reading the prompts, and writing one token of each at a time; the first comes with the prompts."""
    stack = ours.trunk.output
    head = stack.width * vocabulary
    prompt = number * forward_flops(ours.trunk, {"target": PROMPT}) + 2 * number * head
    # What a block multiplies one token with is what it reads.
    weights = forward_flops(ours.trunk, {"target": 1}) / 2 + head
    return [Phase(prompt, weights), Phase(2 * number * weights, weights, num_new - 1)]
