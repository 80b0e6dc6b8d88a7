"""Pretraining objectives: what is hidden, how often, and that every token is learned once."""

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


# -- what is refused


def test_tokenizers_that_will_not_do() -> None:
    with pytest.raises(ValueError, match="needs a tokenizer of ids; the one given makes continuous patches"):
        NextToken(NextToken.Config(), Ids(vocabulary_size=0, patch_width=4))
    with pytest.raises(ValueError, match="needs a tokenizer with a mask id"):
        MaskedToken(MaskedToken.Config(), Ids(mask_id=None))


def test_which_column_is_learned() -> None:
    assert raw_item("abc") == "abc"
    assert raw_item({"sequence": "abc"}) == "abc"
    assert raw_item({"id": 1, "sequence": "abc"}) == "abc"
    assert raw_item({"title": "x", "text": "abc"}) == "abc"
    with pytest.raises(ValueError, match="Name it 'text' with columns; there are: 'title', 'body'"):
        raw_item({"title": "x", "body": "abc"})
