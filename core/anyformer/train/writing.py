"""What a run says when the operating system refuses a write: what could not be written, why, and how to go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def writing(what: str, folder: Path) -> Iterator[None]:
    """Within it, an `OSError`, such as a full disk's, becomes a `ValueError` of one line.

    Args:
        what: is written: `step 40`, `the scores`, `the model`.
        folder: of the run, which can be resumed.
    """
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"{what} cannot be written to {folder}: {error.strerror or error}; what was saved before is whole; "
            f"make room and go on with: anyformer resume {folder}"
        ) from error
