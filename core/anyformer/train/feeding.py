"""Steps prepared ahead by other processes: in order, and the same as if this process had prepared them.

* Worker w of W prepares steps w, w + W, ... and writes each to a pipe of its own. A pipe holds little, so a worker is two
  steps ahead at most, and what waits is bounded without a queue. Everything goes by value: no shared memory, no descriptors.
* torch's DataLoader is not used. When a worker dies it raises from a signal handler, wherever the main thread happens to be,
  an update half done included; and it ends workers by SIGTERM, which ours must outlive. Here a death is met when the step
  that is missing is asked for.
* Workers are forked on Linux, whatever the default of this version of Python: they share the records' memory, nothing must
  be picklable, and a forked process may live beside CUDA as long as it does not use it (ours touch numpy). Elsewhere they
  are spawned, and what prepares a step must be picklable.
* Ctrl-C and SIGTERM reach the whole process group. Workers ignore both, so that the run can finish its step and save; they
  end when they are closed, and when the process that made them is gone, however it went.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Feed(Generic[T], Iterator[T]):
    """What `draw` gives for steps `first` up to `last`, one after the other.

    Args:
        draw: a function of the step alone.
        first: the first step.
        last: one more than the last step.
        workers: processes that prepare steps ahead; 0: each step is prepared when it is asked for.

    Raises what `draw` raises, at its step; and `ValueError` if a worker is killed, or cannot be started.
    """

    def __init__(self, draw: Callable[[int], T], first: int, last: int, workers: int = 0) -> None:
        self._draw, self._step, self._last = draw, first, last
        self._workers: list[tuple[BaseProcess, Connection]] = []
        self._process = os.getpid()
        self._close = weakref.finalize(self, _close, self._workers)  # when forgotten, and when this process ends
        workers = min(workers, last - first)
        for worker in range(workers):
            try:
                self._workers.append(_start(draw, range(first + worker, last, workers)))
            except BaseException:
                self.close()
                raise

    def __next__(self) -> T:
        step = self._step
        if step >= self._last:
            self.close()
            raise StopIteration
        found = self._receive(step) if self._workers else self._draw(step)
        self._step += 1
        return found

    def _receive(self, step: int) -> T:
        """The next that the worker of this step has written."""
        worker, connection = self._workers[0]
        try:
            found, error = connection.recv()
        except (EOFError, OSError):  # before a message, or within one
            worker.join()
            said = _ended(worker.exitcode)
            self.close()
            raise ValueError(
                f"a process that prepares records {said} at step {step}; what the run has saved is whole: lower "
                "training.workers in its run.yaml (0: no such processes), and resume it"
            ) from None
        self._workers.append(self._workers.pop(0))
        if error is not None:
            self.close()
            raise error
        return found

    def close(self) -> None:
        """End the workers, at once."""
        if os.getpid() != self._process:  # a worker has the feed too, as a fork has everything
            return
        self._close()

    def __enter__(self) -> Feed[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _start(draw: Callable[[int], Any], steps: range) -> tuple[BaseProcess, Connection]:
    """A worker, and the end of its pipe to read from."""
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    read, write = context.Pipe(duplex=False)
    worker = context.Process(target=_work, args=(draw, steps, write), daemon=True)
    try:
        with warnings.catch_warnings():  # a fork beside threads, such as those of torch, is warned of
            warnings.simplefilter("ignore", DeprecationWarning)
            worker.start()
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        read.close()
        reason = " ".join(str(error).split())
        raise ValueError(
            f"training.workers must be 0 here: the records cannot be sent to a process: {reason}"
        ) from None
    except OSError as error:
        read.close()
        raise ValueError(f"training.workers is too many: no process can be started: {error.strerror}") from None
    finally:
        write.close()  # the worker has the only one, so its death is the end of the pipe
    return worker, read


def _work(draw: Callable[[int], Any], steps: range, write: Connection) -> None:
    """The life of a worker."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    for step in steps:
        try:
            found: tuple[Any, BaseException | None] = draw(step), None
        except BaseException as error:
            found = None, _sendable(error, step)
        try:
            write.send(found)
        except OSError:  # nobody reads any more
            return
        if found[1] is not None:
            return


def _follow_parent() -> None:
    """End this process when the one that made it has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _sendable(error: BaseException, step: int) -> BaseException:
    """The error with its traceback as a note; one that cannot be sent, as a `RuntimeError` of the same words."""
    trace = "".join(traceback.format_exception(error))
    try:
        sent: BaseException = pickle.loads(pickle.dumps(error))
        assert type(sent) is type(error)
    except Exception:
        sent = RuntimeError(f"{type(error).__name__}: {error}")
    sent.add_note(f"in the process that prepared step {step}:\n{trace}")
    return sent


def _ended(code: int | None) -> str:
    """How a process ended, in a few words."""
    if code is None or code >= 0:
        return f"ended with exit status {code}"
    hint = ", as the system does when memory runs out" if -code == 9 else ""
    return f"was killed by signal {-code}{hint},"


def _close(workers: list[tuple[BaseProcess, Connection]]) -> None:
    for worker, _ in workers:
        worker.kill()
    for worker, connection in workers:
        connection.close()
        worker.join()
        worker.close()
    workers.clear()
