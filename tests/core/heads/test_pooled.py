from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from anyformer.data.packs import collate, cut
from anyformer.heads import Pooled
from anyformer.heads.pooled import PairEmbedding, one_after
from anyformer.nn import Component, Model, Pack, Part, Stream, build, config
from anyformer.task import Objective, Sample, Tokenizer

WIDTH, VOCABULARY, PAIRS = 8, 10, 6
LENGTHS = [3, 1, 5, 2]
UNKNOWN = 2
"""The pair without a score."""


def streams_of(lengths: list[int]) -> dict[str, Stream]:
    x_TD = torch.randn(sum(lengths), WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return {"source": Stream(x_TD, Pack.of(lengths))}


def pairs_of() -> list[Sample]:
    """Pairs of 1 to 5 tokens each, one without a score."""
    rng = np.random.default_rng(0)
    scores = rng.uniform(-1, 1, PAIRS)
    scores[UNKNOWN] = np.nan
    ids = [[rng.integers(0, VOCABULARY, rng.integers(1, 6)) for _ in range(2)] for _ in range(PAIRS)]
    return [
        Sample({"source": first, "other": second}, {"score": np.array([score])})
        for (first, second), score in zip(ids, scores, strict=True)
    ]


def model_of(head: Pooled) -> Model:
    torch.manual_seed(0)
    trunk = config.Trunk(encoder=config.Stack(width=WIDTH, depth=1, attention=config.Attention(heads=2)))
    tokenizer = Tokenizer(Tokenizer.Config())
    tokenizer.vocabulary_size = VOCABULARY
    embedding = PairEmbedding(build.embedding_for(trunk, {"text": tokenizer}))
    component = Component(Objective(None, tokenizer), embedding, head)
    return Model(build.trunk(trunk), {"task": component}).double()


def vectors_one_by_one(model: Model, part: str) -> Tensor:
    """A vector [N, D] for one text of each pair, each in a pass of its own."""
    rows = []
    for pair in pairs_of():
        parts, _ = collate([Sample({"source": pair.parts[part], "other": np.zeros(0, np.int64)})])
        rows.append(model["task"].head(model.encode(parts, "task")))
    return torch.cat(rows)


@pytest.mark.parametrize("pool", ["mean", "first", "last"])
@pytest.mark.parametrize("normalise", [False, True])
def test_a_sequence_becomes_one_vector(pool: str, normalise: bool) -> None:
    streams = streams_of(LENGTHS)
    rows = [piece.numpy() for piece in streams["source"].x_TD.split(LENGTHS)]
    expected = np.stack([{"mean": row.mean(0), "first": row[0], "last": row[-1]}[pool] for row in rows])
    if normalise:
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    head = Pooled(pool, normalise=normalise)
    found = head(streams)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(head(streams, at=torch.tensor([2, 0])), expected[[2, 0]], rtol=1e-12)
    assert not list(head.parameters())
    predictions = head.split(found, streams)
    np.testing.assert_allclose([p.values["vector"] for p in predictions], expected, rtol=1e-6)


def test_the_cosine_of_a_pair_learns_its_score() -> None:
    model = model_of(Pooled())
    parts, targets = collate(pairs_of())
    cosines = F.cosine_similarity(vectors_one_by_one(model, "source"), vectors_one_by_one(model, "other"))
    scores = targets["score"].values
    known = [index for index in range(PAIRS) if index != UNKNOWN]
    expected = sum((cosines[index] - scores[index]).item() ** 2 for index in known)
    assert model(parts, targets, "task")["loss"].item() == pytest.approx(expected, rel=1e-9)
    assert model["task"].head.weigh(targets)["loss"].item() == len(known)


def test_pairs_alone_are_found_among_those_of_the_pack() -> None:
    model = model_of(Pooled(contrast=True, scale=7.0))
    assert model["task"].head.couples_samples
    parts, targets = collate(pairs_of())
    first, second = (vectors_one_by_one(model, part).detach().numpy() for part in ("source", "other"))
    first, second = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (first, second))
    grid = np.exp(7.0 * first @ second.T)
    right = np.diag(grid)
    expected = -(np.log(right / grid.sum(0)) + np.log(right / grid.sum(1))).sum() / 2
    assert model(parts, targets, "task")["loss"].item() == pytest.approx(expected, rel=1e-9)
    assert model["task"].head.weigh(targets)["loss"].item() == PAIRS
    assert model(*collate(pairs_of()[:1]), "task")["loss"].item() == 0


def test_no_cut_separates_a_pair_or_changes_the_gradient(unit_scale: Callable, relative: Callable) -> None:
    model = model_of(Pooled())
    unit_scale(model)

    def gradient(budget: int) -> Tensor:
        model.zero_grad()
        for group in cut(pairs_of(), budget):
            model(*collate(group), "task")["loss"].backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    for budget in (1, 11):
        assert relative(gradient(budget), gradient(10**9)) <= 1e-10


def test_a_pair_embedding_has_the_weights_of_any_other() -> None:
    model = model_of(Pooled())
    plain = build.embedding_for(
        config.Trunk(encoder=config.Stack(width=WIDTH, attention=config.Attention(heads=2))), {"text": _ids()}
    )
    assert list(model["task"].embedding.state_dict()) == list(plain.state_dict())


def _ids() -> Tokenizer:
    tokenizer = Tokenizer(Tokenizer.Config())
    tokenizer.vocabulary_size = VOCABULARY
    return tokenizer


def test_a_pack_after_another_is_the_pack_of_all() -> None:
    found, expected = one_after(Pack.of([3, 1]), Pack.of([2, 5, 1])), Pack.of([3, 1, 2, 5, 1])
    for name in ("bounds", "offsets", "positions"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))
    assert (found.longest, found.furthest, found.lengths) == (5, 5, [3, 1, 2, 5, 1])


def test_a_text_is_one_part_of_its_pack() -> None:
    """What an encoder gets of packs with and without partners."""
    embedding = model_of(Pooled())["task"].embedding
    ids, none = Part(torch.tensor([1, 2, 3]), Pack.of([2, 1])), Part(torch.zeros(0, dtype=torch.int64), Pack.of([0, 0]))
    assert embedding({"source": ids, "other": none})["source"].pack.lengths == [2, 1]
    assert embedding({"source": ids, "other": ids})["source"].pack.lengths == [2, 1, 2, 1]
