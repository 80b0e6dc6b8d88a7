"""A small checkpoint of a home library, saved once, and copies of it to break."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small BERT with a masked-token head."""
    transformers = pytest.importorskip("transformers")
    from anyformer.testing.parity import unit_scale

    config = transformers.BertConfig(
        vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
        max_position_embeddings=16,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("checkpoints") / "bert"
    unit_scale(transformers.BertForMaskedLM(config)).save_pretrained(folder)
    return folder


@pytest.fixture
def broken(bert: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(bert, tmp_path / "model"))


@pytest.fixture
def configured(broken: Path) -> Callable[..., Path]:
    """A function for a copy whose `config.json` has other values; None takes a key away."""

    def change(**values: Any) -> Path:
        path = broken / "config.json"
        config = json.loads(path.read_text()) | values
        path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
        return broken

    return change
