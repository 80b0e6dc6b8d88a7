"""Greedy decoding through the cache equals computing everything anew for each token."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from anyformer.data.packs import collate
from anyformer.heads import LanguageModel
from anyformer.infer.generate import generate
from anyformer.infer.options import Generation
from anyformer.infer.pipeline import Pipeline
from anyformer.nn import Component, Model, build, config
from anyformer.task import Sample

SIZE = 13
"""Ids of the vocabulary."""
NO_END = -1


def new_model(position: str, encoder: bool, unit_scale: Callable[..., None], seed: int = 0) -> Model:
    """An encoder-decoder or a decoder with weights that matter, in float64, where no two logits are nearly equal; without
    biases, which make a text repeat one id.
    """
    common: dict[str, Any] = {
        "width": 16, "depth": 2, "attention": config.Attention(heads=4, key_value_heads=2, bias=False, output_bias=False),
        "position": config.Position(kind=position, length=64), "norm": config.Norm(kind="rms"),
        "feed_forward": config.FeedForward(bias=False),
    }  # fmt: skip
    trunk = config.Trunk(
        encoder=config.Stack(**common) if encoder else None,
        decoder=config.Stack(causal=True, cross=encoder, **common),
    )
    tokenizer = SimpleNamespace(vocabulary_size=SIZE, patch_width=0)
    head = LanguageModel(16, SIZE, tied=False)
    task: Any = SimpleNamespace()
    component = Component(task, build.embedding_for(trunk, {"text": tokenizer}), head)
    model = Model(build.trunk(trunk), {"letters/any": component})
    unit_scale(model, seed)
    return model.double().eval()


def sample(rng: np.random.Generator, source: int, target: int, encoder: bool, **notes: Any) -> Sample:
    parts = {"source": rng.integers(0, SIZE, source)} if encoder else {}
    return Sample({**parts, "target": rng.integers(0, SIZE, target)}, notes={"end": NO_END, **notes})


def naive(model: Model, given: Sample, limit: int) -> list[int]:
    """The whole model over the whole sequence, alone, for every token."""
    written: list[int] = []
    while len(written) < limit:
        target = np.append(given.parts["target"], written).astype(np.int64)
        parts, _ = collate([Sample({**given.parts, "target": target})])
        with torch.no_grad():
            streams = model.encode(parts, "letters/any")
            token = int(model["letters/any"].head(streams)[-1].argmax())
        if token == given.notes["end"]:
            break
        written.append(token)
    return written


def written(model: Model, samples: list[Sample], most: int) -> list[list[int]]:
    found = dict(generate(model, "letters/any", samples, Generation(max_new_tokens=most), [0] * len(samples)))
    assert sorted(found) == list(range(len(samples)))
    assert all(prediction.values["ids"].dtype == np.int64 for prediction in found.values())
    return [found[index].values["ids"].tolist() for index in range(len(samples))]


@pytest.mark.parametrize("encoder", [True, False])
@pytest.mark.parametrize("position", ["rotary", "learned", "sinusoidal", "none"])
def test_equals_full_recomputation(unit_scale: Callable[..., None], position: str, encoder: bool) -> None:
    """Sequences of different lengths, limits and ends, which leave the batch at different times."""
    model = new_model(position, encoder, unit_scale)
    rng = np.random.default_rng(1)
    samples = [
        sample(rng, source, target, encoder, max_new_tokens=limit)
        for source, target, limit in ((3, 1, 12), (9, 2, 5), (1, 4, 12), (6, 1, 1), (4, 3, 99), (2, 1, 9))
    ]
    free = [naive(model, each, min(each.notes["max_new_tokens"], 14)) for each in samples]
    assert len({token for ids in free for token in ids}) > 4, "the model says always the same"
    assert written(model, samples, 14) == free
    for each, ids in zip(samples, free, strict=True):  # now each ends somewhere in the middle of what it wrote
        each.notes["end"] = ids[len(ids) // 2]
    ended = [naive(model, each, min(each.notes["max_new_tokens"], 14)) for each in samples]
    assert [len(ids) for ids in ended] != [len(ids) for ids in free]
    assert written(model, samples, 14) == ended


def test_immediate_end_and_no_room(unit_scale: Callable[..., None]) -> None:
    model = new_model("rotary", True, unit_scale)
    rng = np.random.default_rng(2)
    samples = [sample(rng, 4, 1, True) for _ in range(4)]
    free = written(model, samples, 6)
    samples[0].notes["end"] = free[0][0]
    samples[2].notes["max_new_tokens"] = 0
    assert written(model, samples, 6) == [[], free[1], [], free[3]]
    assert written(model, [samples[2]], 6) == [[]]
    assert written(model, [samples[0]], 6) == [[]]


def test_limits(unit_scale: Callable[..., None]) -> None:
    model = new_model("rotary", True, unit_scale)
    rng = np.random.default_rng(3)
    samples = [sample(rng, 4, 1, True), sample(rng, 4, 1, True, max_new_tokens=3)]
    assert [len(ids) for ids in written(model, samples, 7)] == [7, 3]
    assert [len(ids) for ids in written(model, samples, 2)] == [2, 2]


def test_through_a_task(new_pipeline: Callable[..., Pipeline], letters: Any) -> None:
    asked = new_pipeline("reverse")
    words = letters.words(10, seed=4)
    together = asked(words)
    assert [answer.backwards for answer in together] == [asked(text=row["text"]).backwards for row in words]
    assert len({answer.backwards for answer in together}) > 3
    short = asked(words, max_new_tokens=2)
    assert all(answer.backwards[:2].startswith(less.backwards) for answer, less in zip(together, short, strict=True))
    with pytest.raises(ValueError, match="'max_new_tokens': Input should be greater than or equal to 1"):
        asked(words, max_new_tokens=0)
