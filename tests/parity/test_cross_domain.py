"""A text model's trunk starts a task on proteins: embedding and head are new, the blocks are the given ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

import anyformer
from anyformer import starting
from anyformer.testing.parity import unit_scale

transformers = pytest.importorskip("transformers")
SHAPE = {"vocab_size": 41, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
ROWS = [{"sequence": "MKV" * 5, "label": "HEC" * 5}, {"sequence": "GAVL" * 3, "label": "CCHH" * 3}] * 4


def finetuned(folder: Path, tmp_path: Path) -> tuple[list[str], dict[str, torch.Tensor]]:
    """What the run says it started from, and the trunk as it was before the first step."""
    run = anyformer.finetune(
        "bio/secondary-structure", data=ROWS, valid="none", out=tmp_path / "run",
        overrides=[f"trunk={folder}", "training.steps=1", "training.device=cpu"],
    )  # fmt: skip
    page: dict[str, Any] = yaml.safe_load((run.folder / "run.yaml").read_text())
    first = sorted((run.folder / "checkpoints").rglob("*.safetensors"))[0]
    weights = {
        name.removeprefix("model/"): tensor for name, tensor in load_file(first).items() if "model/trunk." in name
    }
    return page["start"], weights


@pytest.mark.parametrize("name", ["Bert", "Llama"])
def test_the_trunk_of_a_text_model_starts_a_task_on_proteins(name: str, tmp_path: Path) -> None:
    kind = {"Bert": "BertForMaskedLM", "Llama": "LlamaForCausalLM"}[name]
    unit_scale(getattr(transformers, kind)(getattr(transformers, f"{name}Config")(**SHAPE))).save_pretrained(
        tmp_path / "text"
    )
    given = anyformer.load(tmp_path / "text").model.trunk
    said, before = finetuned(tmp_path / "text", tmp_path)
    assert said[:3] == ["trunk: taken over", "embedding: new", "head: new"]
    half = "encoder" if name == "Bert" else "decoder"
    true = {f"trunk.encoder.{key}": tensor for key, tensor in getattr(given, half).state_dict().items()}
    assert before.keys() == true.keys()
    for key, tensor in true.items():
        assert torch.equal(before[key], tensor), key
    assert any(line.startswith("trunk: sha256 ") for line in said)
    if name == "Bert":
        assert f"trunk: sha256 {starting.fingerprint(given)}" in said
    else:
        assert "trunk: was trained to read left to right, and is now used in both directions" in said
