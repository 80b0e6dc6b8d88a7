"""From whatever a command raises to an exit code: a user's error is one line on standard error, ours is a traceback.

| raised                                                        | exit code |
|---------------------------------------------------------------|-----------|
| `ValueError`, an error of the system, a wrong flag or command | 2         |
| Ctrl-C                                                        | 130       |
| the reader of our output went away (`anyformer tasks \\| head`) | 141       |
| anything else: a bug, shown whole                             | 1         |
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import typer

INTERRUPTED, BROKEN_PIPE, WRONG = 130, 141, 2


def guarded(call: Callable[[], Any], debug: bool = False) -> int:
    """The exit code of a call: what it returns if that is a number, 0 for anything else. `debug` shows the traceback."""
    try:
        result = call()
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its end
        return BROKEN_PIPE
    except Exception as error:
        line = describe(error)
        if line is None:
            raise
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"error: {line}\n")
        return WRONG
    return result if isinstance(result, int) else 0


def describe(error: Exception) -> str | None:
    """A user's error in one line; None for any other."""
    if hasattr(error, "format_message"):  # typer's own errors of usage: it has no public name for their base class
        context = getattr(error, "ctx", None)
        see = f" (see: {context.command_path} --help)" if context is not None else ""
        return _line(error.format_message()) + see
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename is not None else error.strerror
    if isinstance(error, ValueError):
        return _line(_explained(error))
    return None


def _explained(error: ValueError) -> str:
    """What a `ValueError` says; a pydantic one, which speaks in paragraphs, is put in one line."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(error, pydantic.ValidationError):
        from anyformer.task import explain

        return explain(error)
    return str(error) or type(error).__name__


def _line(text: str) -> str:
    return " ".join(text.split())
