"""A refused write is one line that says how to go on; any other error is left as it is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from anyformer.train.writing import writing


def test_a_refusal_says_what_why_and_how_to_go_on() -> None:
    with (
        pytest.raises(ValueError, match=r"^the scores cannot be written to runs/x: ") as raised,
        writing("the scores", Path("runs/x")),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/x/scores.json")
    assert str(raised.value) == (
        "the scores cannot be written to runs/x: No space left on device; what was saved before is whole; "
        "make room and go on with: anyformer resume runs/x"
    )


def test_an_error_of_a_library_has_words_too_and_another_is_left_alone() -> None:
    with pytest.raises(ValueError, match=": broken; what was saved"), writing("the model", Path("x")):
        raise OSError("broken")
    with pytest.raises(KeyError), writing("the model", Path("x")):
        raise KeyError("a")
