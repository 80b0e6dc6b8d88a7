"""Next token and masked token: what is hidden, how often, and that every token is learned once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anyformer.heads.loss import IGNORED
from anyformer.objectives import MaskedToken, NextToken, raw_item
from anyformer.task import Frozen, Tokenizer

START, END, MASK = range(3)
SIZE = 50


class Ids(Tokenizer):
    """Raw items are ids already."""

    vocabulary_size = SIZE
    mask_id = MASK
    special_ids = frozenset((START, END, MASK))

    def __init__(self, end_id: int | None = END, **attributes: Any) -> None:
        super().__init__(Frozen())
        self.end_id = end_id
        for name, value in attributes.items():
            setattr(self, name, value)

    def encode(self, raw: Any) -> dict[str, np.ndarray]:
        return {"ids": np.array(raw, np.int64)}


def items(*lengths: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [{"text": rng.integers(3, SIZE, length).tolist()} for length in lengths]


# -- next token


@pytest.mark.parametrize("context", [2, 7, 16, 1000])
@pytest.mark.parametrize("end_id", [END, None])
def test_windows_learn_every_token_once(context: int, end_id: int | None) -> None:
    raw = items(5, 1, 0, 23, 11)
    objective = NextToken(NextToken.Config(context=context), Ids(end_id))
    stream = [id for item in raw for id in [*item["text"], *([] if end_id is None else [end_id])]]
    records = objective.records(raw)
    samples = [objective.learn(records[index], np.random.default_rng(0)) for index in range(len(records))]
    inputs = [sample.parts["target"].tolist() for (sample,) in samples]
    labels = [sample.targets["labels"].tolist() for (sample,) in samples]
    assert sum(labels, []) == stream[1:]  # noqa: RUF017
    assert sum(inputs, []) == stream[:-1]  # noqa: RUF017
    assert all(len(ids) == context for ids in inputs[:-1])
    assert 1 <= len(inputs[-1]) <= context


def test_windows_of_next_to_nothing() -> None:
    objective = NextToken(NextToken.Config(context=4), Ids(None))
    assert len(objective.records([])) == 0
    assert len(objective.records(items(1))) == 0
    assert len(objective.records(items(2))) == 1
    assert len(objective.records(items(5))) == 1
    assert len(objective.records(items(6))) == 2
    with pytest.raises(IndexError):
        objective.records(items(6))[2]


# -- masked token


def masked(lengths: list[int], draws: int, rate: float = 0.15, specials: bool = False) -> list[Any]:
    """Triples of the true ids, those that the model sees and the labels."""
    objective = MaskedToken(MaskedToken.Config(rate=rate), Ids())
    raw = items(*lengths)
    if specials:
        raw = [{"text": [START, *item["text"], END]} for item in raw]
    found = []
    for index, record in enumerate(objective.records(raw)):
        for draw in range(draws):
            (sample,) = objective.learn(record, np.random.default_rng((index, draw)))
            found.append((record["ids"], sample.parts["source"], sample.targets["labels"]))
    return found


def test_rate_and_fates() -> None:
    """15 % are learned; of these 80 % are masked, 10 % random, 10 % as they were (Devlin et al. 2019)."""
    triples = masked([400] * 10, 25)
    true, seen, labels = (np.concatenate(parts) for parts in zip(*triples, strict=True))
    chosen = labels != IGNORED
    count = int(chosen.sum())
    assert abs(chosen.mean() - 0.15) < 4 * (0.15 * 0.85 / len(true)) ** 0.5
    assert (labels[chosen] == true[chosen]).all()
    assert (seen[~chosen] == true[~chosen]).all()
    hidden = seen[chosen] == MASK
    other = ~hidden & (seen[chosen] != true[chosen])
    for share, expected in ((hidden.mean(), 0.8), (other.mean(), 0.1 * (1 - 1 / (SIZE - 3)))):
        assert abs(share - expected) < 4 * (expected * (1 - expected) / count) ** 0.5
    drawn = np.bincount(seen[chosen][other], minlength=SIZE)
    assert drawn[:3].sum() == 0, "a random replacement is never special"
    assert (drawn[3:] > 0).all(), "every other id can be one"


def test_specials_are_never_chosen() -> None:
    for true, seen, labels in masked([1, 2, 5], 200, rate=0.9, specials=True):
        special = np.isin(true, (START, END, MASK))
        assert (labels[special] == IGNORED).all()
        assert (seen[special] == true[special]).all()


def test_at_least_one_token_is_learned() -> None:
    triples = masked([1, 3], 100, rate=0.01)
    assert all((labels != IGNORED).sum() >= 1 for _, _, labels in triples)


def test_nothing_but_specials_gives_no_sample() -> None:
    objective = MaskedToken(MaskedToken.Config(), Ids())
    assert objective.learn({"ids": np.array([START, END])}, np.random.default_rng(0)) == []


def test_windows_leave_nothing_out() -> None:
    objective = MaskedToken(MaskedToken.Config(context=8), Ids())
    raw = items(3, 8, 0, 21)
    windows = [record["ids"].tolist() for record in objective.records(raw)]
    assert windows == [raw[0]["text"], raw[1]["text"], raw[3]["text"][:8], raw[3]["text"][8:16], raw[3]["text"][16:]]


def test_the_record_is_left_as_it_was() -> None:
    objective = MaskedToken(MaskedToken.Config(rate=0.9), Ids())
    (record,) = objective.records(items(20))
    before = record["ids"].copy()
    objective.learn(record, np.random.default_rng(0))
    assert (record["ids"] == before).all()


# -- whole units and spans


class Pairs(Ids):
    """Every odd id goes on the unit of the id before it."""

    def continues(self, ids: np.ndarray) -> np.ndarray:
        return ids % 2 == 1


def units_of(ids: np.ndarray) -> np.ndarray:
    """The unit of each token; a special id is one, and none goes on it."""
    starts = [place for place, id in enumerate(ids) if id % 2 == 0 or id < 3 or place == 0 or ids[place - 1] < 3]
    return np.isin(np.arange(len(ids)), starts).cumsum()


@pytest.mark.parametrize("longest", [1, 4])
def test_whole_units_are_hidden_or_none(longest: int) -> None:
    objective = MaskedToken(MaskedToken.Config(whole_units=True, longest_span=longest, rate=0.3), Pairs())
    shares, cut = [], 0
    for draw in range(60):
        rng = np.random.default_rng(draw)
        ids = rng.integers(3, SIZE, 60)
        ids[20] = END
        (sample,) = objective.learn({"ids": ids}, rng)
        learned, unit = sample.targets["labels"] != IGNORED, units_of(ids)
        for one in np.unique(unit):
            assert learned[unit == one].all() or not learned[unit == one].any()
        cut += int((ids[1:] % 2 == 1).any())
        shares.append(learned.mean())
    assert cut == 60
    assert abs(np.mean(shares) - 0.3) < 0.05


def test_spans_have_geometric_lengths_and_one_fate() -> None:
    """With a low rate runs are spans as they were drawn: 0.2 of all lengths are 1, none is above 10 (Joshi et al. 2020)."""
    objective = MaskedToken(MaskedToken.Config(rate=0.01, longest_span=10), Ids())
    ids = np.random.default_rng(0).integers(3, SIZE, 3000)
    lengths, fates, shares = [], [], []
    for draw in range(60):
        (sample,) = objective.learn({"ids": ids}, np.random.default_rng(draw))
        learned, seen = sample.targets["labels"] != IGNORED, sample.parts["source"]
        shares.append(learned.sum())
        edges = np.flatnonzero(np.diff(np.concatenate([[0], learned, [0]])))
        for start, end in edges.reshape(-1, 2).tolist():
            hidden = seen[start:end] == MASK
            assert hidden.all() or not hidden.any(), "tokens of a run share a fate"
            lengths.append(end - start)
            fates.append(bool(hidden.all()))
    assert set(shares) == {30}, "the share is exact where a unit is a token"
    shares_of = 0.8 ** np.arange(10)
    mean = float((shares_of / shares_of.sum()) @ np.arange(1, 11))
    assert abs(np.mean(lengths) - mean) < 0.35  # a few spans touch, and the last is cut short
    assert abs(np.mean(np.array(lengths) == 1) - 0.2 / (1 - 0.8**10)) < 0.07
    assert abs(np.mean(fates) - 0.8) < 0.08


# -- what is refused


def test_tokenizers_that_will_not_do() -> None:
    with pytest.raises(ValueError, match="needs a tokenizer of ids; the one given makes continuous patches"):
        NextToken(NextToken.Config(), Ids(vocabulary_size=0, patch_width=4))
    with pytest.raises(ValueError, match="needs a tokenizer with a mask id"):
        MaskedToken(MaskedToken.Config(), Ids(mask_id=None))
    with pytest.raises(ValueError, match="the tokenizer Ids does not say which ids go on a unit"):
        MaskedToken(MaskedToken.Config(whole_units=True), Ids())


def test_which_column_is_learned() -> None:
    assert raw_item("abc") == "abc"
    assert raw_item({"sequence": "abc"}) == "abc"
    assert raw_item({"id": 1, "sequence": "abc"}) == "abc"
    assert raw_item({"title": "x", "text": "abc"}) == "abc"
    with pytest.raises(ValueError, match="Name it 'text' with columns; there are: 'title', 'body'"):
        raw_item({"title": "x", "body": "abc"})
