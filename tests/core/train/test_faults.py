"""Faults in a step: memory that runs out, records that cannot be used, losses that are not finite; each is named."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from anyformer import api
from anyformer.data import open_data
from anyformer.data.packs import cut
from anyformer.data.steps import Draw, Order
from anyformer.train import checkpoint, faults, gradient, prepare
from anyformer.train.drawing import Source
from anyformer.train.engine import Engine
from anyformer.train.run import Run
from anyformer.train.where import where

NewEngine = Callable[..., Engine]
Begin = Callable[..., Run]
STILL = ("trunk.encoder.dropout=0", "trunk.decoder.dropout=0", "training.log_every=1", "training.records=8")


class Small:
    """A device with room for so many tokens of a source; what it refuses, it refuses after `spared` packs of a step."""

    def __init__(self, engine: Engine, room: int, error: BaseException, spared: int = 0) -> None:
        self.run, self.room, self.error, self.spared = engine.run, room, error, spared
        self.sizes: list[int] = []
        engine.run = self

    def __call__(self, parts: Any, *given: Any) -> Any:
        size = len(parts["source"].values)
        self.spared -= 1
        if self.spared < 0 and size > self.room:
            raise self.error
        self.sizes.append(size)
        return self.run(parts, *given)


def warnings_of(engine: Engine) -> list[str]:
    said: list[str] = []
    engine.warn = said.append
    return said


# -- memory


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to"),
    ],
    ids=["gpu", "python", "cpu"],
)
def test_a_step_that_does_not_fit_is_done_again_in_smaller_packs(new_engine: NewEngine, error: BaseException) -> None:
    """In float64 the weights are those of a machine with room; what was added before the fault is not added twice."""
    whole, small = new_engine("reverse", *STILL), new_engine("reverse", *STILL)
    said = warnings_of(small)
    for engine in (whole, small):
        engine.model.double()
    device = Small(small, 20, error, spared=1)  # the fault comes in the second step
    lines = [(whole.advance(), small.advance()) for _ in range(3)]
    for name, weight in whole.model.state_dict().items():
        assert torch.allclose(small.model.state_dict()[name], weight, rtol=0, atol=1e-10), name
    for one, other in lines:
        assert one is not None
        assert other is not None
        assert other["train/loss"] == pytest.approx(
            one["train/loss"], rel=1e-6
        )  # sums of a head are in single precision
        assert other["skipped"] == 0
    assert max(device.sizes[1:]) <= 20
    assert small.budget < whole.budget
    first = sum(sample.cost for sample in small.samples(1)) // 2
    assert said[0] == (
        f"out of memory at step 1, which is done again in micro-packs of {first:,} tokens, as are all after it; "
        "training.tokens can ask for that"
    )
    assert not any("step 2" in each for each in said), "the smaller budget is kept"


def test_a_fault_after_a_backward_pass_leaves_nothing_behind(new_engine: NewEngine) -> None:
    """The first pack of a step has been added to the gradient when the second does not fit."""
    given = ("reverse", *STILL, "training.tokens=40")
    whole, small = new_engine(*given), new_engine(*given)
    for engine in (whole, small):
        engine.model.double()
    device = Small(small, 0, torch.OutOfMemoryError(), spared=1)

    def refill(said: str) -> None:
        device.room = 10**9

    small.warn = refill
    whole.advance()
    small.advance()
    assert len(device.sizes) > 3
    for name, weight in whole.model.state_dict().items():
        assert torch.allclose(small.model.state_dict()[name], weight, rtol=0, atol=1e-10), name


def test_buffers_are_put_back(new_engine: NewEngine) -> None:
    """A statistic that each forward pass moves has moved once by the packs that counted."""
    engine = new_engine("reverse", *STILL)
    counts = torch.zeros(())
    engine.model.register_buffer("counts", counts)
    engine.buffers = faults.Buffers(engine.model)
    Small(engine, 20, torch.OutOfMemoryError(), spared=1)
    run = engine.run

    def counted(*given: Any) -> Any:
        counts.add_(1)
        return run(*given)

    engine.run = counted
    engine.advance()
    engine.advance()
    assert engine.budget < engine.settings.tokens
    assert int(counts) == 1 + len(list(cut(engine.samples(1), engine.budget)))


def test_a_sample_that_does_not_fit_alone_is_named(new_engine: NewEngine, letters: ModuleType) -> None:
    rows = [*letters.words(7, longest=4), {"text": "abcdabcdabcd", "label": "a", "backwards": "dcbadcbadcba"}]
    engine = new_engine("reverse", *STILL, rows=rows)
    Small(engine, 8, torch.OutOfMemoryError())
    with pytest.raises(ValueError, match=r"^out of memory at step 0: row 8 does not fit even alone, with ") as raised:
        engine.advance()
    assert str(raised.value).endswith(" tokens; shorten it, or take a smaller trunk")


def test_an_optimizer_that_does_not_fit_and_another_error(
    new_engine: NewEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = new_engine()

    def full(*given: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(engine.optimizer, "step", full)
    with pytest.raises(ValueError, match=r"^out of memory: the state of the optimizer does not fit; take a smaller"):
        engine.advance()
    engine = new_engine("reverse")
    Small(engine, 0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        engine.advance()


def test_what_the_libraries_really_say() -> None:
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        torch.empty(2**46, dtype=torch.float64)  # no machine has it
    assert faults.out_of_memory(raised.value)
    assert not faults.out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_run_says_so_and_a_resumed_one_begins_with_what_was_asked(
    begin: Begin, letters: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: Any, stopped_at: Any
) -> None:
    add_gradient = gradient.add_gradient
    budgets: list[tuple[int, int]] = []
    room = [12]

    def limited(engine: Engine, *given: Any) -> Any:
        if engine.budget > room[0]:
            raise torch.OutOfMemoryError
        budgets.append((engine.step, engine.budget))
        return add_gradient(engine, *given)

    monkeypatch.setattr(gradient, "add_gradient", limited)
    run = begin(tmp_path / "run")
    assert run.finished
    assert {budget for _, budget in budgets} == {budgets[0][1]}
    assert heard.warnings[0].startswith("out of memory at step 0, which is done again in micro-packs of ")
    room[0] = 10**9
    budgets.clear()
    api.resume(stopped_at(run, tmp_path / "again", 4), data=letters.words(16))
    assert set(budgets) == {(step, 16384) for step in range(4, 8)}


# -- records that cannot be used


@pytest.fixture
def spoilt(letters: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with labels at lines 5 and 12 that the check at the start, which looks at the two ends, does not see."""
    rows = letters.words(16)
    for line in (5, 12):
        rows[line - 1]["label"] = "z"
    path = tmp_path / "words.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(prepare, "CHECKED", 2)
    fit = letters.Richest.fit
    monkeypatch.setattr(
        letters.Richest, "fit", lambda self, records: fit(self, [r for r in records if r.target.label < "z"])
    )
    return path


def trained(data: Path, *overrides: str) -> Run:
    every = ["training.steps=8", "training.log_every=1", "training.save_every=1", "training.keep=99", *overrides]
    return api.finetune("letters/richest", data=data, valid="none", out=data.parent / "run", overrides=every)


def test_a_bad_record_stops_the_run_and_is_named_by_file_and_line(spoilt: Path) -> None:
    with pytest.raises(ValueError, match="the label 'z'") as raised:
        trained(spoilt)
    line = str(raised.value).partition(", line ")[2].partition(":")[0]
    assert line in ("5", "12")
    assert str(raised.value) == (
        f"{spoilt}, line {line}: the label 'z' was not in the training data; mend it and start again, or let a run leave "
        "some out: training.bad_records=10"
    )


def test_bad_records_that_are_allowed_are_counted_once_and_the_first_is_told(spoilt: Path, heard: Any) -> None:
    run = trained(spoilt, "training.bad_records=2")
    assert run.finished
    counts = [line["bad_records"] for line in run.log.lines()]
    assert counts == sorted(counts)
    assert counts[-1] == 2, "two records, each met in two epochs"
    (warning,) = heard.warnings
    assert warning.startswith(f"{spoilt}, line ")
    assert warning.endswith("; this record is left out, and up to 2 may be; the log counts bad_records")
    whole = checkpoint.load(run.folder / "checkpoints" / "00000008")
    assert sorted(whole.scalars["progress"]["bad_records"]["letters/richest"]) == [4, 11]


def test_one_more_than_allowed_stops(spoilt: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^2 records cannot be used, and training\.bad_records allows 1; the last: /.*, line"
    ):
        trained(spoilt, "training.bad_records=1")


def test_the_count_outlives_a_stop(spoilt: Path, stopped_at: Any, assert_same: Any, tmp_path: Path) -> None:
    run = trained(spoilt, "training.bad_records=2")
    assert_same(api.resume(stopped_at(run, tmp_path / "again", 5)), run)


def test_a_line_that_no_reader_can_read_is_not_named_twice(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\nnothing\n')
    rows = open_data(tmp_path / "a.jsonl")
    source = Source("letters/richest", lambda record, rng: [], rows, Order(0, 2, 1), seed=0)
    drawn = source.learn_from([(0, Draw(0, 1))])
    assert list(drawn.bad) == [1]
    assert drawn.bad[1].startswith(f"{tmp_path / 'a.jsonl'}, line 2: this is no JSON")


def test_where_a_record_comes_from(letters: ModuleType, tmp_path: Path) -> None:
    """Through a split, a pattern, other names, a table and lines side by side."""
    for name, count in (("a", 3), ("b", 4)):
        (tmp_path / f"{name}.csv").write_text("word,label\n" + "".join(f"ab{place},a\n" for place in range(count)))
    rows = open_data(str(tmp_path / "*.csv"), "text=word")
    records = letters.Richest(letters.Richest.Config(), {"word": None}).records(rows[2:5])
    assert [where(records, index) for index in range(3)] == [
        f"{tmp_path}/a.csv, line 4", f"{tmp_path}/b.csv, line 2", f"{tmp_path}/b.csv, line 3"
    ]  # fmt: skip
    (tmp_path / "text").with_suffix(".txt").write_text("a\nb\nc\n")
    assert where(open_data(tmp_path / "text.txt")[1:], 1) == f"{tmp_path}/text.txt, line 3"
    assert where(letters.Richest(letters.Richest.Config(), {"word": None}).records(letters.words(3)), 2) == "row 3"
    assert where([1, 2, 3], 1) == "record 2 of the training part"


# -- what is not finite


def sample_of(engine: Engine, owner: int) -> Any:
    (source,) = engine.sources
    return source.learn(source.records[owner], np.random.default_rng(0))[0]


def poisoned(engine: Engine, owner: int) -> None:
    """A head whose loss is not finite where one record's sample is in the pack."""
    run, ids = engine.run, sample_of(engine, owner).parts["source"]

    def wrong(parts: Any, *given: Any) -> Any:
        found = any(
            bytes(ids) == bytes(each.numpy()) for each in parts["source"].values.split(parts["source"].pack.lengths)
        )
        return {term: total * (math.nan if found else 1.0) for term, total in run(parts, *given).items()}

    engine.run = wrong


def test_the_guilty_record_is_named_and_not_its_neighbours(new_engine: NewEngine, letters: ModuleType) -> None:
    rows = list({row["text"]: row for row in letters.words(20)}.values())
    engine = new_engine("reverse", *STILL, rows=rows)
    said = warnings_of(engine)
    owner = engine.sources[0].order.step(0)[3].index
    poisoned(engine, owner)
    line = engine.advance()
    assert line is not None
    assert line["skipped"] == 1
    assert said == [
        f"step 0 was left out, for a gradient that is not finite, at row {owner + 1}; the run stops after 20 in a row"
    ]
    assert engine.model.training


def test_an_update_that_is_left_out_leaves_no_statistics_behind(new_engine: NewEngine) -> None:
    """Those of a batch norm would be no numbers from then on, and be saved."""
    engine = new_engine("reverse", *STILL)
    statistic = torch.ones(3)
    engine.model.register_buffer("statistic", statistic)
    engine.buffers = faults.Buffers(engine.model)
    run = engine.run

    def spoil(*given: Any) -> Any:
        statistic.fill_(math.nan)
        return {term: total * math.nan for term, total in run(*given).items()}

    engine.run = spoil
    for skipped in (1, 2):  # the records of the first of them are tried one by one, those of the second are not
        line = engine.advance()
        assert line is not None
        assert line["skipped"] == skipped
        assert statistic.tolist() == [1, 1, 1]
    assert engine.not_finite() is None


def test_a_state_that_overflowed_is_not_saved(begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A huge but finite gradient has a square that is not."""
    advance = Engine.advance

    def overflow(self: Engine) -> Any:
        line = advance(self)
        if self.step == 2:
            next(iter(self.optimizer.state.values()))["exp_avg_sq"].view(-1)[0] = math.inf
        return line

    monkeypatch.setattr(Engine, "advance", overflow)
    with pytest.raises(
        ValueError, match=r"^the state 'optimizer/.*/exp_avg_sq' is no longer finite at step 2, which is not"
    ):
        begin(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == ["00000000", "00000001"]
