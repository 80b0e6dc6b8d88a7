"""Streams: shuffled in blocks, found again from one integer, the same in every epoch, and never in memory as a whole."""

from __future__ import annotations

import itertools
import re
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from anyformer.data import Stream, at_hand, fingerprint, open_data, records_of, split
from anyformer.data.blocks import StreamRecords
from anyformer.data.dataset import IN_MEMORY, Dataset
from anyformer.data.steps import Draw, Order, block_permutation, order_of
from anyformer.train.drawing import Source, chain, digests
from anyformer.train.feeding import Feed
from anyformer.train.where import where

ONE_TO_ONE = SimpleNamespace(records=lambda rows: rows)
SEVERAL = SimpleNamespace(records=lambda rows: [{"n": row["n"]} for row in rows for _ in range(row["n"] % 3)])


def numbers(count: int = 25) -> Any:
    return lambda: ({"n": number} for number in range(count))


def stream(count: int = 25, block: int = 10, **rest: Any) -> Stream:
    return Stream(numbers(count), name="numbers", block=block, **rest)


def drawn(records: Sequence[Any], steps: Any, per_step: int = 4, seed: int = 3) -> list[list[tuple[int, Any]]]:
    """For each step the epoch and the row of its records."""
    order = order_of(records, seed, per_step)
    return [[(draw.epoch, records[draw.index]["n"]) for draw in order.step(step)] for step in steps]


def fresh(bound: Any = ONE_TO_ONE, count: int = 25, block: int = 10) -> Any:
    return records_of(bound, open_data(stream(count, block)))


def refused(call: Any) -> str:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the tests look at the message
        call()
    assert "\n" not in str(raised.value)
    return str(raised.value)


# -- order


@pytest.mark.parametrize(
    ("count", "block", "per_step"), [(25, 10, 4), (25, 100, 4), (3, 1, 8), (20, 10, 10), (7, 3, 20)]
)
def test_each_epoch_takes_each_row_once(count: int, block: int, per_step: int) -> None:
    taken = list(itertools.chain(*drawn(fresh(count=count, block=block), range(4 * count), per_step)))
    for epoch in range(len(taken) // count):
        of_epoch = taken[epoch * count : (epoch + 1) * count]
        assert {place for place, _ in of_epoch} == {epoch}
        assert sorted(number for _, number in of_epoch) == list(range(count))


def test_rows_are_shuffled_within_their_block_and_otherwise_in_each_epoch_and_with_each_seed() -> None:
    taken = [number for step in drawn(fresh(), range(25), 2) for _, number in step]
    assert [sorted(taken[at : at + 10]) for at in (0, 10)] == [list(range(10)), list(range(10, 20))]
    other = [number for step in drawn(fresh(), range(25), 2, seed=4) for _, number in step]
    assert len({tuple(taken[:25]), tuple(taken[25:]), tuple(other[:25]), tuple(range(25))}) == 4


@pytest.mark.parametrize("bound", [ONE_TO_ONE, SEVERAL])
def test_a_run_goes_on_at_any_step(bound: Any) -> None:
    straight = drawn(fresh(bound), range(40))
    for step in range(0, 40, 3):
        assert drawn(fresh(bound), range(step, 40)) == straight[step:]
    records = fresh(bound)
    for step in (30, 2, 39, 0, 1, 1, 38):  # backwards too, as a proof of a resume may need it
        assert drawn(records, [step]) == [straight[step]]


def test_going_on_reads_two_epochs_at_most() -> None:
    made = Counter[str]()

    def rows() -> Iterator[dict[str, int]]:
        made["times"] += 1
        yield from numbers()()

    records = records_of(ONE_TO_ONE, open_data(Stream(rows, block=10)))
    made.clear()
    (step,) = drawn(records, [10_000])
    assert [epoch for epoch, _ in step] == [1600] * 4
    assert made["times"] == 3  # once through, the beginning of the next, and the epoch of the step


def test_a_row_may_give_many_records() -> None:
    whole = Counter(row["n"] for row in SEVERAL.records(list(numbers()())))
    taken = [number for step in drawn(fresh(SEVERAL), range(len(whole) * 2), 1) for _, number in step]
    size = sum(whole.values())
    assert Counter(taken[:size]) == whole
    assert not fresh(SEVERAL).one_to_one


def test_frozen_numbers() -> None:
    """A run of an older version goes on as it began only while these stand."""
    assert block_permutation(7, 1, 2, 10).tolist() == [8, 7, 2, 0, 4, 6, 1, 5, 3, 9]
    assert order_of([1] * 10, 7, 4) == Order(7, 10, 4)
    assert order_of(fresh(), 7, 2).step(7) == [Draw(0, 12), Draw(0, 13)]


# -- memory, ranks and workers


class Live(dict[str, int]):
    """A row that can be counted."""

    __hash__ = object.__hash__  # type: ignore[assignment]


def test_memory_does_not_grow_with_the_stream() -> None:
    alive: weakref.WeakSet[Live] = weakref.WeakSet()

    def rows() -> Iterator[Live]:
        for number in range(2000):
            row = Live(n=number)
            alive.add(row)
            yield row

    records = records_of(ONE_TO_ONE, open_data(Stream(rows, block=20)))
    most = 0
    order = order_of(records, 0, 7)
    for step in range(600):
        order.step(step)
        most = max(most, len(alive))
    assert most <= 4 * 20
    order_of(records, 0, 7).step(3)
    assert len(alive) <= 4 * 20


def learn(record: Mapping[str, Any], rng: np.random.Generator) -> list[Any]:
    from anyformer.task import Sample

    return [Sample({"x": np.array([record["n"]])}, {"y": rng.random(1)})]


def test_workers_and_ranks_see_the_same(tmp_path: Any) -> None:
    path = tmp_path / "numbers.txt"
    path.write_text("\n".join(map(str, range(300))))

    def rows() -> Iterator[dict[str, int]]:
        with open(path) as lines:  # an open file that a fork would share
            yield from ({"n": int(line)} for line in lines)

    def source() -> Source:
        records = records_of(ONE_TO_ONE, open_data(Stream(rows, block=50)))
        return Source("numbers", learn, records, order_of(records, 1, 6), 1)

    def hashes(workers: int) -> list[str]:
        begun = source()
        begun.draw(0)
        with Feed(begun.draw, 2, 120, workers) as feed:
            return [chain(digests([found]), "") for found in feed]

    alone = hashes(0)
    assert len(set(alone)) == 118
    assert hashes(2) == alone
    assert hashes(3) == alone
    ranks = [source().draw(80, rank, 2).samples for rank in range(2)]
    whole = source().draw(80).samples
    assert [int(s.parts["x"][0]) for s in whole[::2]] == [int(s.parts["x"][0]) for s in ranks[0]]
    assert [int(s.parts["x"][0]) for s in whole[1::2]] == [int(s.parts["x"][0]) for s in ranks[1]]


# -- as data


def test_what_is_a_stream() -> None:
    rows = open_data(numbers())
    assert [row["n"] for row in rows] == list(range(25))
    assert open_data(stream(count=1000), {"m": "n"})[3] == {"n": 3, "m": 3}
    assert len(open_data(stream(count=1000))) == 10
    assert isinstance(open_data(iter([{"n": 1}])), list)
    assert fingerprint(open_data(stream())) != fingerprint(open_data(stream(block=9)))
    assert fingerprint(open_data(stream())) == fingerprint(open_data(stream()))
    renamed = records_of(ONE_TO_ONE, open_data(stream(), {"m": "n"}))
    assert all(renamed[each.index]["m"] == renamed[each.index]["n"] for each in order_of(renamed, 0, 30).step(1))


def test_the_first_rows_are_held_out_of_every_epoch() -> None:
    found = Dataset.open(stream(), 5, None, 0, False)
    assert [row["n"] for row in found.valid] == [0, 1, 2, 3, 4]
    assert found.valid_name == "the first 5 rows of numbers, held out"
    taken = [number for step in drawn(records_of(ONE_TO_ONE, found.train), range(20), 2) for _, number in step]
    assert sorted(taken[:20]) == sorted(taken[20:]) == list(range(5, 25))
    assert [found.asked[name] for name in ("data", "valid", "rows", "valid_rows", "in_both", "stream")] == [
        IN_MEMORY, 5, None, 5, 0, "numbers",
    ]  # fmt: skip
    again = Dataset.reopen(found.asked, stream(), None, 0, False)
    assert again.asked == found.asked
    assert len(Dataset.open(stream(), None, None, 0, False).valid) == 1  # a tenth of the block
    assert len(Dataset.open(stream(), "none", None, 0, False).valid) == 0
    given = Dataset.open(stream(), [{"n": 3}, {"n": 99}], None, 0, False)
    assert (given.asked["in_both"], given.asked["valid"]) == (1, IN_MEMORY)


def test_an_error_names_the_row() -> None:
    found, _ = open_data(stream()).hold_out(5)
    assert where(records_of(ONE_TO_ONE, found), 12) == "numbers, row 18"
    assert where(fresh(SEVERAL), 12) == "numbers, record 13"

    def rows() -> Iterator[Any]:
        yield from numbers(14)()
        raise ValueError("line 15 is broken")

    records = records_of(ONE_TO_ONE, open_data(Stream(rows, "numbers", 10)))
    assert refused(lambda: drawn(records, range(9))) == "numbers, row 15: line 15 is broken"
    odd = records_of(ONE_TO_ONE, open_data(Stream(lambda: [*numbers(14)(), 7], "numbers", 10)))
    assert "numbers, row 15: a row is a mapping from field to value" in refused(lambda: drawn(odd, range(9)))


def test_a_bad_record_is_named_by_the_row_of_the_stream() -> None:
    from anyformer import plugins

    kind = plugins.task("nlp/text-classification")

    def rows() -> Iterator[dict[str, str]]:
        for number in range(30):
            yield {"text": f"text {number}", "label": "a"} if number != 17 else {"label": "b"}

    raw = open_data(Stream(rows, "reviews", 10))
    bound = SimpleNamespace(records=lambda given: kind.records(kind.__new__(kind), given), temporal=False)
    records = records_of(bound, raw)
    source = Source("x", lambda record, rng: [], records, order_of(records, 0, 30), 0)
    assert list(source.draw(0).bad.items()) == [(17, "reviews, row 18: 'text' is missing; given: 'label'")]


def changing(*counts: int) -> Any:
    """A function whose iterators have other numbers of rows."""
    left = iter(counts)
    return lambda: numbers(next(left))()


def test_a_stream_that_changes_is_noticed() -> None:
    def run(make: Any, valid: Any = "none") -> Any:
        return drawn(
            records_of(ONE_TO_ONE, Dataset.open(Stream(make, "numbers", 10), valid, None, 0, False).train), range(30)
        )

    said = "numbers gave {} rows in epoch 2, and 25 before; a stream must give the same rows each time it is read"
    assert refused(lambda: run(changing(25, 25, 22, 25))) == said.format(22)
    assert refused(lambda: run(changing(25, 25, 28, 25))) == said.format(28)
    assert "numbers gave other rows in epoch 2 than at first; its function must return a fresh iterator" in refused(
        lambda: run(changing(25, 25, 5))
    )
    once = numbers()()
    assert "numbers gave other rows in epoch 1 than at first" in refused(lambda: run(lambda: once))
    gone = numbers()()
    assert "numbers gave other rows when it was read again than at first" in refused(lambda: run(lambda: gone, 4))


REFUSED = [
    (lambda: open_data(lambda: iter(())), "<lambda> has no rows"),
    (lambda: open_data(lambda: 3), "its function must return an iterator over rows; got 3"),
    (
        lambda: Stream([1]),
        "a stream is made by a function that returns a fresh iterator, Stream(lambda: rows()); got [1]",
    ),
    (lambda: stream(block=0), "the block of a stream is a number of rows, 1 or more; got 0"),
    (lambda: split(open_data(stream()), 0.1, 0), "numbers cannot be split by a share, as its length is not known"),
    (
        lambda: Dataset.open(stream(), 0.1, None, 0, False),
        "a stream has no share to hold out, as its length is not known",
    ),
    (lambda: Dataset.open(stream(), 0, None, 0, False), "the rows of a stream to hold out are 1 or more; got valid=0"),
    (
        lambda: Dataset.open(stream(), 25, None, 0, False),
        "numbers has no more than 25 rows, which would all be held out",
    ),
    (
        lambda: Dataset.open([{"n": 1}] * 9, stream(), None, 0, False),
        "held-out rows are read as often as the run is scored",
    ),
    (lambda: len(fresh()), "numbers is a stream, so its length is not known; say training.steps=10000"),
    (
        lambda: records_of(SimpleNamespace(records=lambda rows: rows[:2], temporal=True), open_data(stream())),
        "numbers is a stream, and a record here is made of many rows in order of time",
    ),
    (
        lambda: records_of(SimpleNamespace(records=lambda rows: []), open_data(stream())),
        "numbers: its first 10 rows give no record to learn from",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[case[1][:40] for case in REFUSED])
def test_refused_in_one_line(call: Any, message: str) -> None:
    assert re.search(re.escape(message), refused(call))


def test_a_stream_of_records_is_one() -> None:
    assert isinstance(fresh(), StreamRecords)
    assert [row["n"] for row in at_hand(fresh())] == list(range(10))
    assert at_hand([1, 2]) == [1, 2]
    assert records_of(ONE_TO_ONE, [1, 2]) == [1, 2]
