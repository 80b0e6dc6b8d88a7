"""TensorBoard events, read back by TensorBoard itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from anyformer import api, plugins
from anyformer.hookspecs import hookimpl
from anyformer.tensorboard import TensorBoard, event, listening, record
from anyformer.train.log import Log

Points = dict[str, list[tuple[int, float]]]


@pytest.fixture
def read() -> Callable[[Path], Points]:
    """A function for the scalars that TensorBoard shows of a run: step and value by name."""
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def points(run: Path) -> Points:
        found = loader.EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
        found.Reload()
        names = found.Tags()["scalars"]
        return {name: [(point.step, point.value) for point in found.Scalars(name)] for name in names}

    return points


def of_log(run: Path) -> Points:
    """The same, of metrics.jsonl."""
    found: Points = {}
    for line in Log(run).lines():
        for name, value in line.items():
            if name != "step" and value is not None:
                found.setdefault(name, []).append((line["step"], pytest.approx(value, rel=1e-6)))
    return found


def test_the_bytes_of_a_record() -> None:
    # As TensorFlow's own writer has it, checksums included.
    assert record(event(1.5, version="brain.Event:2")).hex() == (
        "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c"
    )


def test_a_run_and_its_resumption(letters: ModuleType, tmp_path: Path, read: Callable[[Path], Points]) -> None:
    run = tmp_path / "run"
    data = tmp_path / "words.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in letters.words(20)))
    settings = {"training": {"steps": 8, "log_every": 1, "evaluate_every": 2, "save_every": 4}}

    class Stumble:
        """Ends a run in the middle, between two checkpoints."""

        @hookimpl
        def anyformer_step_ended(self, line: dict[str, Any]) -> None:
            if line["step"] == 7:
                raise KeyboardInterrupt

    stumble = Stumble()
    plugins.register(stumble)
    try:
        with listening(True), pytest.raises(KeyboardInterrupt):
            api.finetune("letters/richest", data=data, valid=0.2, out=run, settings=settings)
    finally:
        plugins.unregister(stumble)
    before = read(run)
    assert [step for step, _ in before["train/loss"]][:6] == [1, 2, 3, 4, 5, 6]
    with listening(True):
        api.resume(run)
    shown = read(run)
    assert shown == of_log(run)
    assert [step for step, _ in shown["train/loss"]] == list(range(1, 9))
    assert [step for step, _ in shown["valid/accuracy"]] == [2, 4, 6]
    # For readers that know no purge: the points are in one file.
    assert sum(bool(file.stat().st_size) for file in (run / "tensorboard").iterdir()) == 1


def test_who_watches_a_run_that_is_resumed_sees_no_point_twice(tmp_path: Path) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    clock = SimpleNamespace(now=1000.0)
    log = Log(tmp_path)
    watched = loader.EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"scalars": 0})
    for start in (0, 2, 2):
        log.cut(start)
        clock.now += 100
        listener = TensorBoard(lambda: clock.now)
        listener.anyformer_run_started(tmp_path)
        for step in range(start + 1, 5):
            log.write({"step": step, "train/loss": step + start / 10, "seconds": 2.0 * step})
            listener.anyformer_step_ended(tmp_path)
        log.write({"step": 4, "valid/loss": float("nan")})
        listener.anyformer_run_ended(tmp_path)
        watched.Reload()
    points = watched.Scalars("train/loss")
    assert [(point.step, round(point.value, 3)) for point in points] == [(1, 1.0), (2, 2.0), (3, 3.2), (4, 4.2)]
    assert [point.wall_time for point in points] == [1298, 1300, 1300, 1300]
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
    assert "valid/loss" not in watched.Tags()["scalars"]


def test_a_line_that_is_not_whole_waits(tmp_path: Path, read: Callable[[Path], Points]) -> None:
    listener = TensorBoard()
    listener.anyformer_run_started(tmp_path)
    text = json.dumps({"step": 1, "lr": 0.5, "best": "no number", "large": 1e300}) + "\n"
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(text[:9])
        file.flush()
        listener.anyformer_step_ended(tmp_path)
        file.write(text[9:])
    listener.anyformer_step_ended(tmp_path)
    assert read(tmp_path) == {"lr": [(1, 0.5)], "large": [(1, float("inf"))]}


def test_nothing_is_written_unless_wanted(letters: ModuleType, tmp_path: Path) -> None:
    with listening(False):
        run = api.finetune(
            "letters/richest", data=letters.words(12), out=tmp_path / "run", settings={"training.steps": 1}
        )
    assert not (run.folder / "tensorboard").exists()
