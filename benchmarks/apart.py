"""An object in a process of its own, as its users have it: what a side sets for its process (kept memory, threads,
allocators, a compiler) neither helps nor harms another. Only one works at a time, the one that is asked.
"""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any


class Apart:
    """What `make(*given)` gives, in another process. Used as a context, which ends the process."""

    def __init__(self, make: Callable[..., Any], *given: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, given), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Apart:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()
        self._process.join()

    def __call__(self, *given: Any) -> Any:
        """The object, called."""
        return self.ask("__call__", *given)

    def ask(self, method: str, *given: Any) -> Any:
        """What a method of the object answers. Raises `RuntimeError` with the trace of what went wrong there."""
        self._pipe.send((method, given))
        wrong, found = self._pipe.recv()
        if wrong is not None:
            raise RuntimeError(wrong)
        return found


def _serve(pipe: Connection, make: Callable[..., Any], given: tuple[Any, ...]) -> None:
    made = None
    while True:
        try:
            method, asked = pipe.recv()
        except EOFError:  # nobody asks any more
            return
        try:
            made = make(*given) if made is None else made
            pipe.send((None, getattr(made, method)(*asked)))
        except Exception:
            pipe.send((traceback.format_exc(), None))
