"""Workers prepare the same steps in the same order, outlive signals, and leave no process behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from functools import partial
from typing import Any

import numpy as np
import pytest

from anyformer import plugins
from anyformer.data.steps import Order
from anyformer.testing.subject import Subject
from anyformer.train.drawing import Source, chain, digests
from anyformer.train.feeding import Feed

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def squares(step: int) -> list[np.ndarray]:
    """Thousands of small arrays, and a big one."""
    return [np.full(3, step * step)] * 2000 + [np.full(200_000, step)]


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be noticed does not."""
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def pids(feed: Feed[Any]) -> list[int]:
    return [worker.pid for worker, _ in feed._workers if worker.pid]


def gone(numbers: list[int], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while any(alive(number) for number in numbers) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(alive(number) for number in numbers)


@pytest.mark.parametrize("workers", [0, 1, 3, 50])
def test_every_step_comes_once_and_in_order(workers: int) -> None:
    with Feed(squares, 4, 15, workers) as feed:
        found = list(feed)
    assert [int(arrays[-1][0]) for arrays in found] == list(range(4, 15))
    assert [int(arrays[0][0]) for arrays in found] == [step * step for step in range(4, 15)]


def test_nothing_to_do() -> None:
    assert list(Feed(squares, 3, 3, 2)) == []


@LINUX
@pytest.mark.parametrize("id", sorted(plugins.tasks()))
def test_samples_of_every_task_are_the_same_with_any_number_of_workers(id: str) -> None:
    small = Subject.of(id).model()
    records = small.task.records(small.rows)
    source = Source(id, small.task.learn, records, Order(3, len(records), 3), 3)

    def hashes(workers: int) -> list[str]:
        with Feed(source.draw, 1, 7, workers) as feed:
            return [chain(digests([drawn]), "") for drawn in feed]

    alone = hashes(0)
    assert len(set(alone)) > 1
    for workers in (1, 2, 4):
        assert hashes(workers) == alone


@LINUX
def test_a_worker_that_is_killed_is_told_in_one_line() -> None:
    feed = Feed(squares, 0, 100, 2)
    next(feed)
    first, second = pids(feed)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(
        ValueError, match="was killed by signal 9, as the system does when memory runs out, at"
    ) as raised:
        list(feed)
    assert "lower training.workers in its run.yaml (0: no such processes), and resume it" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert gone([first, second])


@LINUX
def test_a_worker_that_leaves_by_itself_is_told_too() -> None:
    with pytest.raises(
        ValueError, match="a process that prepares records ended with exit status 3 at step 0; what the"
    ):
        next(Feed(lambda step: os._exit(3), 0, 10, 1))


def test_workers_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_process(*_: Any) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patched:
        patched.setattr(sys, "platform", "darwin")  # where workers are spawned
        with pytest.raises(ValueError, match=r"training\.workers must be 0 here: the records cannot be sent to a"):
            Feed(lambda step: step, 0, 10, 2)
    monkeypatch.setattr(os, "fork", no_process)
    if sys.platform == "linux":
        with pytest.raises(ValueError, match="too many: no process can be started: Resource temporarily unavailable"):
            Feed(squares, 0, 10, 2)


@LINUX
def test_a_worker_that_closes_a_feed_it_inherited_ends_nobody() -> None:
    with Feed(squares, 0, 10, 2) as outer:
        with Feed(lambda step: outer.close(), 0, 2, 1) as inner:
            assert list(inner) == [None, None]
        assert len(list(outer)) == 10


def broken(step: int, error: BaseException) -> int:
    if step == 2:
        raise error
    return step


class OddError(Exception):
    """Cannot be unpickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("odd")


@LINUX
@pytest.mark.parametrize(
    ("error", "kind"),
    [(ValueError("mend row 3"), ValueError), (KeyError("x"), KeyError), (OddError(1, 2), RuntimeError)],
)
def test_an_error_comes_at_its_step_with_its_traceback(error: BaseException, kind: type[BaseException]) -> None:
    feed = Feed(partial(broken, error=error), 0, 10, 2)
    assert [next(feed), next(feed)] == [0, 1]
    numbers = pids(feed)
    with pytest.raises(kind) as raised:
        next(feed)
    assert "in the process that prepared step 2" in raised.value.__notes__[0]
    assert "in broken" in raised.value.__notes__[0]
    assert gone(numbers)


@LINUX
def test_close_and_forgetting_end_the_workers_at_once() -> None:
    def slow(step: int) -> int:
        time.sleep(60)
        return step

    started = time.monotonic()
    feed = Feed(slow, 0, 10, 2)
    numbers = pids(feed)
    feed.close()
    feed.close()
    forgotten = Feed(slow, 0, 10, 2)
    numbers += pids(forgotten)
    del forgotten
    assert gone(numbers, 0.5)
    assert time.monotonic() - started < 10


@LINUX
def test_thousands_of_arrays_are_no_descriptors() -> None:
    with Feed(squares, 0, 30, 2) as feed:
        before = len(os.listdir("/proc/self/fd"))
        kept = list(feed)
        assert len(os.listdir("/proc/self/fd")) <= before
    assert len(kept) == 30


PROGRAM = """
import os, signal, sys, time
from anyformer.train.feeding import Feed
asked = []
signal.signal(signal.SIGINT, lambda *_: asked.append(1))
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
feed = Feed(lambda step: (step, os.getpid()), 0, 10_000, 3)
print(*{next(feed)[1] for _ in range(9)}, flush=True)
sys.stdin.readline()
assert [next(feed)[0] for _ in range(9)] == list(range(9, 18))
print(len(asked), flush=True)
if sys.argv[1] == "wait":
    time.sleep(60)
if sys.argv[1] == "raise":
    raise SystemError("gone wrong")
"""  # it does not close the feed


@contextlib.contextmanager
def program(end: str):
    """A process in a group of its own that has a feed, and the ids of its workers."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, end], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield process, [int(number) for number in process.stdout.readline().split()]
    finally:
        process.kill()
        process.communicate()


@LINUX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("end", ["leave", "raise"])
def test_a_signal_to_the_group_stops_no_worker_and_none_is_left(number: int, end: str) -> None:
    with program(end) as (process, numbers):
        assert len(numbers) == 3
        os.killpg(process.pid, number)
        time.sleep(0.1)
        said, errors = process.communicate("\n", timeout=20)
        assert said.split() == ["1"], errors
        assert process.returncode == (1 if end == "raise" else 0)
        assert gone(numbers)


@LINUX
def test_workers_die_with_a_parent_that_is_killed() -> None:
    with program("wait") as (process, numbers):
        assert all(alive(number) for number in numbers)
        process.kill()
        assert gone(numbers)
