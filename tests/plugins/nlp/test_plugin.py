from __future__ import annotations

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

import anyformer_nlp
from anyformer.task import resolve
from anyformer_nlp import demos

HEAVY = (
    "torch",
    "tokenizers",
    "sentencepiece",
    "sacrebleu",
    "matplotlib",
    "babel",
    "sklearn",
    "transformers",
    "pandas",
)
LAYOUTS = ("families", "distilbert", "marian", "bart")
"""Tables of checkpoints, which are read when one is opened."""
MODULES = sorted(
    path.stem for path in Path(anyformer_nlp.__file__).parent.glob("*.py") if path.stem not in ("__init__", *LAYOUTS)
)


def test_importing_the_plugin_imports_nothing_heavy() -> None:
    code = "import sys, anyformer_nlp\n" + "".join(f"import anyformer_nlp.{name}\n" for name in MODULES)
    code += f"anyformer_nlp.anyformer_presets()\nprint([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_the_page_names_exists() -> None:
    for spec in [*anyformer_nlp.anyformer_tasks().values(), *anyformer_nlp.anyformer_tokenizers().values()]:
        resolve(spec.target)
    page = anyformer_nlp.__doc__ or ""
    for name in [*anyformer_nlp.anyformer_tasks(), *anyformer_nlp.anyformer_tokenizers()]:
        assert f"| nlp/{name} " in page
    rows = re.findall(r"\| nlp/(\S+)", page)
    assert all(any(fnmatch(name, row) for row in rows) for name in anyformer_nlp.anyformer_presets())


def test_dates_are_deterministic_and_share_none() -> None:
    first, second = demos.dates(), demos.dates()
    assert (list(first.train), list(first.valid)) == (list(second.train), list(second.valid))
    assert (len(first.train), len(first.valid)) == (demos.NUM_TRAIN, demos.NUM_VALID)

    train, valid = ({row["translation"].split("day, ")[-1] for row in rows} for rows in (first.train, first.valid))
    assert not train & valid
    assert len(train) + len(valid) == demos.NUM_TRAIN + demos.NUM_VALID


def test_names_are_deterministic_and_share_neither_texts_nor_things() -> None:
    first, second = demos.language_of_a_name(), demos.language_of_a_name()
    assert (list(first.train), list(first.valid)) == (list(second.train), list(second.valid))
    train, valid = ([row["text"].lower() for row in rows] for rows in (first.train, first.valid))
    assert len(set(train) | set(valid)) == len(train) + len(valid)
    assert {row["label"] for row in first.train} == {row["label"] for row in first.valid} == set(demos.NAME_LANGUAGES)
    portugal = {"portugalsko", "portugali", "portogallo", "portugalia"}
    assert portugal <= set(train) or portugal <= set(valid)


@pytest.mark.parametrize("make", [demos.dates, demos.language_of_a_name])
def test_a_demo_without_babel_says_what_to_install(make: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "babel", None)
    with pytest.raises(ValueError, match=r"this demo needs Babel: pip install 'anyformer-nlp\[demo\]'"):
        make()  # type: ignore[operator]
