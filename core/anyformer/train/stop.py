"""Stopping well: SIGTERM and Ctrl-C finish the step, save and leave."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Stopped(BaseException):
    """A run was asked to stop and has saved; it can be resumed. `code` is the exit status for the shell."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.code = 128 + signal_number


class StopSignals:
    """Within it, SIGTERM and SIGINT only set `received`; a second one changes nothing. Outside the main thread it does
    nothing.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or number
