"""What commands print: JSON that any program reads, tables that grep reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import PurePosixPath

import numpy as np
import pytest
from pydantic import BaseModel

from anyformer.cli import output


class Model(BaseModel):
    steps: int


def test_json_takes_models_arrays_and_paths(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"model": Model(steps=3), "array": np.arange(2), "one": np.float32(0.5), "path": PurePosixPath("a/b")}
    output.write_json(value)
    assert capsys.readouterr().out == '{"model": {"steps": 3}, "array": [0, 1], "one": 0.5, "path": "a/b"}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        output.write_json({"score": float("nan")})


def test_text_that_the_encoding_lacks_is_escaped() -> None:
    code = "from anyformer.cli.output import write, write_json; write_json({'a': '\\u4e2d'}); write('\\u4e2d')"
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, timeout=60, check=True)
    assert done.stdout == b'{"a": "\\u4e2d"}\n\\u4e2d\n'


def test_table_off_the_terminal_is_aligned_columns(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_table(["name", "score", "note"], [["a", 0.123456, None], ["longer", 10, "two\nlines"]])
    assert capsys.readouterr().out == "name     score  note\na       0.1235  -\nlonger      10  two lines\n"


def test_table_on_a_terminal_keeps_brackets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    output.write_table(["name"], [["a[bold]b"]])
    assert "a[bold]b" in capsys.readouterr().out
