"""A process that dies, or whose disk is full, at a chosen moment of what it writes; from within, so that none is missed.

* A call that writes, syncs, renames or removes has two moments: before it, and half-way. Half-way, a write has left
  half of its bytes in the file; the other calls are done whole by the kernel, so it is right after them.
* The moments of an undisturbed process are counted first; then a process for each is struck there.
* Writes of Python, of safetensors and of torch are seen; the latter two write by themselves, a file a call.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import safetensors.torch
import torch
from safetensors import SafetensorError

Fault = Callable[[str], None]
"""What happens at a moment, which it is told by name; if it returns, the call goes on."""
_WHOLE = ("fsync", "rename", "replace", "unlink", "remove", "rmdir")
"""Functions of `os` that the kernel does whole."""


def kill(moment: str) -> None:
    """SIGKILL to this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def full_disk(moment: str) -> None:
    """No room for a write; for anything else there is."""
    if "write" in moment:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Moments:
    """Counts moments while it is `counting`, and strikes at the chosen one and all after it.

    Args:
        at: which one, from 1; 0: none.
        fault: what happens there.
    """

    def __init__(self, at: int = 0, fault: Fault = kill) -> None:
        self.at, self.fault = at, fault
        self.counting = True
        self.names: list[str] = []
        """Of the moments so far: `before write manifest.json`, `half-way write manifest.json`."""

    @contextmanager
    def watching(self, *more: tuple[Any, str]) -> Iterator[Moments]:
        """Within it, moments are counted: of what writes, and of `more`, pairs of an owner and the name of a function."""
        with ExitStack() as stack:
            for owner, name in [*((os, name) for name in _WHOLE), *more]:
                stack.enter_context(mock.patch.object(owner, name, self._whole(name, getattr(owner, name))))
            files = self._files(io.open)
            for owner in (io, builtins):
                stack.enter_context(mock.patch.object(owner, "open", files))
            for library, name in ((safetensors.torch, "serialize_file"), (torch, "save")):
                stack.enter_context(mock.patch.object(library, name, self._by_library(getattr(library, name))))
            yield self

    def _reached(self, name: str) -> bool:
        if not self.counting:
            return False
        self.names.append(name)
        return 0 < self.at <= len(self.names)

    def _struck(self, call: Callable[[], Any], half: Callable[[], Any], name: str) -> Any:
        """Make a call, unless one of its two moments is chosen."""
        if self._reached(f"before {name}"):
            self.fault(f"before {name}")
        if not self._reached(f"half-way {name}"):
            return call()
        found = half()
        self.fault(f"half-way {name}")
        return found

    def _whole(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **named: Any) -> Any:
            def made() -> Any:
                return call(*given, **named)

            said = " ".join([name, *(Path(each).name for each in given[:1] if isinstance(each, str | os.PathLike))])
            return self._struck(made, made, said)

        return counted

    def _files(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """`open`, whose files count what is written to them."""

        def opened(*given: Any, **named: Any) -> Any:
            file = call(*given, **named)
            if file.writable() and isinstance(given[0], str | os.PathLike):
                file.write = self._write(file, Path(given[0]).name)
            return file

        return opened

    def _write(self, file: Any, name: str) -> Callable[[Any], Any]:
        write = file.write

        def counted(data: Any) -> Any:
            def half() -> None:
                write(data[: len(data) // 2])
                file.flush()

            return self._struck(lambda: write(data), half, f"write {name}")

        return counted

    def _by_library(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """A function that writes the file of its second argument by itself."""

        def counted(*given: Any, **named: Any) -> Any:
            path = given[1]
            if not isinstance(path, str | os.PathLike):
                return call(*given, **named)  # an open file, which counts for itself

            def half() -> None:
                call(*given, **named)
                os.truncate(path, os.path.getsize(path) // 2)

            try:
                return self._struck(lambda: call(*given, **named), half, f"write {Path(path).name}")
            except OSError as error:
                if call.__name__ != "serialize_file":
                    raise
                raise SafetensorError(f"I/O error: {error.strerror} (os error {error.errno})") from None

        return counted


def forked(call: Callable[[], Any], said: Path | None = None) -> int:
    """Make a call in a copy of this process; returns its exit code, negative for the signal that ended it.

    What it prints goes to the file `said`. The code is what the call returned if that is a number, 1 if it raised.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if said is not None:
                handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(handle, 1)
                os.dup2(handle, 2)
            found = call()
            code = found if isinstance(found, int) else 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException as error:
            code = getattr(error, "code", 1)
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
