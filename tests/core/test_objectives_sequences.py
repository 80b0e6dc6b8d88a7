"""Span corruption and denoising: what the encoder reads, what the decoder writes, and that nothing else tells it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anyformer.objectives import Denoising, SpanCorruption
from anyformer.objectives.spans import compose, lay_out
from anyformer.task import Array, Frozen, Sample, Tokenizer

START, END, MASK, STOP = range(4)
FIRST, SIZE = 4, 200
SENTINELS = tuple(range(SIZE - 1, SIZE - 21, -1))
"""Twenty, counted down from the last id, as T5 has them."""


class Ids(Tokenizer):
    """Raw items are ids already."""

    vocabulary_size = SIZE
    start_id, end_id, mask_id = START, END, MASK
    special_ids = frozenset((START, END, MASK))

    def __init__(self, **attributes: Any) -> None:
        super().__init__(Frozen())
        for name, value in attributes.items():
            setattr(self, name, value)

    def encode(self, raw: Any) -> dict[str, Array]:
        return {"ids": np.array(raw, np.int64)}


class Sentences(Ids):
    """A segment ends with STOP."""

    def closes(self, ids: Array) -> Array:
        return ids == STOP


T5 = {"sentinel_ids": SENTINELS, "special_ids": frozenset((START, END, MASK, *SENTINELS))}


def distinct(length: int) -> Array:
    """Ids that are all different, so that each says where it was."""
    return np.random.default_rng(length).permutation(np.arange(FIRST, SENTINELS[-1]))[:length]


def learn(objective: Any, ids: Array, seed: int = 0) -> Sample:
    (sample,) = objective.learn({"ids": ids}, np.random.default_rng(seed))
    return sample


def rejoined(sample: Sample, names: frozenset[int]) -> list[int]:
    """The sequence that source and labels stand for: each span back where its name stands."""
    source, written = sample.parts["source"].tolist(), sample.targets["labels"].tolist()
    assert (source.pop(), written.pop()) == (END, END)
    spans: list[list[int]] = []
    for id in written:
        if id in names:
            spans.append([id])
        else:
            spans[-1].append(id)
    found: list[int] = []
    for id in source:
        if id in names:
            name, *span = spans.pop(0)
            assert name == id
            assert span
            found += span
        else:
            found.append(id)
    assert not spans
    return found


# -- spans


def test_every_composition_and_every_placement_is_as_likely() -> None:
    rng = np.random.default_rng(0)
    parts = [tuple(compose(5, 3, rng).tolist()) for _ in range(3000)]
    assert {sum(part) for part in parts} == {5}
    counts = [parts.count(part) for part in set(parts)]
    assert len(counts) == 6
    assert max(counts) - min(counts) < 150
    places = [tuple(lay_out(np.array([2, 0]), 5, rng)[0].tolist()) for _ in range(3000)]
    counts = [places.count(place) for place in set(places)]
    assert sorted(set(places)) == [(0, 3), (0, 4), (0, 5), (1, 4), (1, 5), (2, 5)]
    assert max(counts) - min(counts) < 150


# -- span corruption


@pytest.mark.parametrize("sentinels", [True, False])
@pytest.mark.parametrize("length", [1, 2, 3, 20, 120])
def test_source_and_labels_are_the_whole_sequence(length: int, sentinels: bool) -> None:
    objective = SpanCorruption(SpanCorruption.Config(context=128), Ids(**T5) if sentinels else Ids())
    names = frozenset(SENTINELS) if sentinels else frozenset((MASK,))
    for seed in range(20):
        ids = distinct(length)
        sample = learn(objective, ids, seed)
        assert rejoined(sample, names) == ids.tolist()
        labels = sample.targets["labels"]
        assert sample.parts["target"].tolist() == [START, *labels[:-1].tolist()]
        num_names = np.isin(labels, sorted(names)).sum()
        assert len(labels) - 1 - num_names == max(1, round(0.15 * length))
        assert num_names == max(1, round(max(1, round(0.15 * length)) / 3))
        if sentinels:
            assert labels[np.isin(labels, SENTINELS)].tolist() == list(SENTINELS[:num_names])


def test_special_ids_are_never_cut_out() -> None:
    for config in ({"context": 8, "rate": 0.6, "span": 4}, {"context": 8, "rate": 0.9, "span": 8}):
        objective = SpanCorruption(SpanCorruption.Config(**config), Ids(**T5 | {"sentinel_ids": SENTINELS[:2]}))
        for seed in range(50):
            ids = np.array([START, 10, 11, END, 12, 13, 14, MASK, 15, 16, 17, END])
            sample = learn(objective, ids, seed)
            assert [id for id in sample.parts["source"] if id < 3] == [START, END, MASK, END, END]
            assert rejoined(sample, frozenset(SENTINELS)) == ids.tolist(), "no span lacks a sentinel"
    assert objective.learn({"ids": np.array([START, END])}, np.random.default_rng(0)) == []


def test_hidden_tokens_do_not_reach_the_source() -> None:
    """Other tokens in the places that are hidden leave the source as it is."""
    for objective in (
        SpanCorruption(SpanCorruption.Config(), Ids()), Denoising(Denoising.Config(), Ids()),
    ):  # fmt: skip
        ids = distinct(60)
        first = learn(objective, ids, 3)
        hidden = ~np.isin(ids, first.parts["source"])
        assert hidden.sum() == round(60 * objective.config.rate)
        second = learn(objective, np.where(hidden, FIRST, ids), 3)
        assert first.parts["source"].tolist() == second.parts["source"].tolist()
        assert first.targets["labels"].tolist() != second.targets["labels"].tolist()


# -- denoising


@pytest.mark.parametrize("length", [1, 2, 3, 7, 150])
def test_the_decoder_writes_the_whole_sequence(length: int) -> None:
    objective = Denoising(Denoising.Config(), Ids())
    for seed in range(30):
        ids = distinct(length)
        sample = learn(objective, ids, seed)
        assert sample.targets["labels"].tolist() == [*ids.tolist(), END]
        assert sample.parts["target"].tolist() == [START, *ids.tolist()]
        source = sample.parts["source"]
        kept = source[(source != MASK) & (source != END)]
        assert kept.tolist() == [id for id in ids.tolist() if id in set(kept.tolist())], "the order stays"
        assert len(kept) == length - max(1, round(0.3 * length))
        assert (source == MASK).sum() >= 1


def test_one_mask_stands_for_a_span_of_poisson_length() -> None:
    """Also of length 0: a mask where nothing is missing. Two masks never touch, so each gap tells its length."""
    objective = Denoising(Denoising.Config(context=160), Ids())
    lengths = []
    for seed in range(60):
        ids = distinct(150)
        source = learn(objective, ids, seed).parts["source"][:-1]
        at = {id: place for place, id in enumerate(ids.tolist())}
        places = [-1, *[-2 if id == MASK else at[id] for id in source.tolist()], len(ids)]
        gaps = [places[i + 1] - places[i - 1] - 1 for i in range(1, len(places) - 1) if places[i] == -2]
        assert min(gaps) >= 0
        lengths += gaps
    assert abs(np.mean(lengths) - 3) < 0.2
    assert abs(np.mean(np.array(lengths) == 0) - np.exp(-3)) < 0.025


def test_segments_change_places() -> None:
    ids = np.array([10, 11, STOP, 20, STOP, 30, 31, 32, STOP, 40])
    objective = Denoising(Denoising.Config(rate=0.01, span=1), Sentences())
    orders = set()
    for seed in range(200):
        source = [id for id in learn(objective, ids, seed).parts["source"].tolist() if id >= FIRST]
        orders.add(tuple(dict.fromkeys(id // 10 for id in source)))
        for one in (10, 30):
            own = [id for id in source if id // 10 == one // 10]
            assert own == sorted(own), "within a segment the order stays"
    assert len({order for order in orders if len(order) == 4}) == 24
    still = Denoising(Denoising.Config(rate=0.01, span=1, permute=False), Sentences())
    kept = [id for id in learn(still, ids).parts["source"].tolist() if id not in (MASK, END)]
    assert kept == [id for id in ids.tolist() if id in kept or id == STOP][: len(kept)]


# -- both


def test_items_are_cut_into_windows() -> None:
    objective = SpanCorruption(SpanCorruption.Config(context=8), Ids())
    raw = [{"text": list(range(FIRST, FIRST + length))} for length in (3, 0, 21)]
    assert [len(record["ids"]) for record in objective.records(raw)] == [3, 8, 8, 5]


def test_what_a_decoder_begins_with() -> None:
    """The start id; without one, the end id, as BART does."""
    for attributes, begin in (({}, START), ({"start_id": None}, END), ({"end_id": None}, START)):
        sample = learn(Denoising(Denoising.Config(), Ids(**attributes)), distinct(5))
        assert sample.parts["target"][0] == begin
        assert (sample.targets["labels"][-1] == END) == ("end_id" not in attributes)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="neither a start nor an end id"):
        Denoising(Denoising.Config(), Ids(start_id=None, end_id=None))
    with pytest.raises(ValueError, match="denoising needs a tokenizer with a mask id"):
        Denoising(Denoising.Config(), Ids(mask_id=None))
    with pytest.raises(ValueError, match="sentinel ids, or with a mask id in their place"):
        SpanCorruption(SpanCorruption.Config(), Ids(mask_id=None))
    SpanCorruption(SpanCorruption.Config(context=400), Ids(mask_id=None, **T5))
    with pytest.raises(
        ValueError, match=r"1000 tokens loses 50 spans, and the tokenizer has 20 sentinels .* config.span"
    ):
        SpanCorruption(SpanCorruption.Config(context=1000), Ids(**T5))
