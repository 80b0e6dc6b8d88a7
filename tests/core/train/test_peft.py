"""Adapters beside the peft library: it reads ours onto the home library's model, and we read its; the answers are equal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from anyformer import api
from anyformer.artifact import Artifact
from anyformer.data.packs import collate
from anyformer.families.adapters import layout
from anyformer.task import Sample
from anyformer.testing.parity import relative, unit_scale
from anyformer.train import adapter_files, lora
from anyformer.train.settings import LoRA

peft = pytest.importorskip("peft", reason="needs peft, which the development environment has")
transformers = pytest.importorskip("transformers", reason="needs transformers, which the development environment has")
pytest.importorskip("anyformer_nlp", reason="needs the plugin of the families")

SMALL = {"vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
LLAMA = SMALL | {"num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2}
GPT2 = {
    "vocab_size": 61,
    "n_embd": 24,
    "n_layer": 2,
    "n_head": 3,
    "n_positions": 33,
    "bos_token_id": 2,
    "eos_token_id": 2,
}
CASES: dict[str, Any] = {
    "bert": ("BertForSequenceClassification", "BertConfig", SMALL | {"num_labels": 5}, ("query", "value", "feed_forward.up"),
             {"target_modules": ["query", "attention.output.dense"], "modules_to_save": ["classifier", "pooler.dense"]}),
    "llama": ("LlamaForCausalLM", "LlamaConfig", LLAMA, ("query", "value", "gate"),
              {"target_modules": ["q_proj", "v_proj", "down_proj"], "use_rslora": True, "alpha_pattern": {"v_proj": 3}}),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", GPT2, ("query", "value", "down"),
             {"target_modules": ["c_attn", "mlp.c_proj"], "rank_pattern": {"c_attn": 2}, "fan_in_fan_out": True}),
    "gpt2, untied": ("GPT2LMHeadModel", "GPT2Config", GPT2 | {"tie_word_embeddings": False}, ("key",),
                     {"target_modules": ["c_fc"], "modules_to_save": ["lm_head"], "fan_in_fan_out": True}),
}  # fmt: skip


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Any:
    return CASES[request.param]


@pytest.fixture
def home(case: Any) -> nn.Module:
    """A model of the home library with weights that matter."""
    return unit_scale(getattr(transformers, case[0])(getattr(transformers, case[1])(**case[2])))


@pytest.fixture
def base(home: Any, tmp_path: Path) -> Artifact:
    """The same, read here."""
    home.save_pretrained(tmp_path / "home")
    return api.load(tmp_path / "home")


def stir(weights: dict[str, Tensor], seed: int = 1) -> None:
    """Move weights so that each matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in weights.values():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.3)


def compare(artifact: Artifact, home: Any) -> float:
    """The relative error of logits over three sequences."""
    (component,) = artifact.model.components
    stream = "source" if artifact.trunk.encoder is not None else "target"
    generator = torch.Generator().manual_seed(0)
    ids = [torch.randint(5, 61, (length,), generator=generator) for length in (7, 1, 12)]
    parts, _ = collate([Sample({stream: each.numpy()}) for each in ids])
    with torch.inference_mode():
        streams = artifact.model.eval().encode(parts, component)
        output = artifact.model[component].head(streams)
        ours = streams[stream].pack.split(output) if stream == "target" else list(output)
        theirs = [home(each[None]).logits[0] for each in ids]
    return max(relative(own, true) for own, true in zip(ours, theirs, strict=True))


def test_peft_reads_ours(case: Any, home: nn.Module, base: Artifact, tmp_path: Path) -> None:
    (component,) = base.model.components
    places = layout(base, component)
    assert compare(base, home) < 1e-5
    settings = LoRA(rank=3, alpha=7, targets=case[3])
    lora.adapt(base.model, [component], settings, seed=0)
    stir({name: weight for name, weight in base.model.named_parameters() if weight.requires_grad})
    adapter_files.write(tmp_path / "adapter", adapter_files.learned(base.model, settings), places)
    assert compare(base, home) > 1e-2
    adapted = peft.PeftModel.from_pretrained(home, tmp_path / "adapter").eval()
    assert compare(base, adapted) < 1e-5
    again = peft.PeftModel.from_pretrained(home, tmp_path / "adapter").eval()
    lora.merge(base.model)
    assert compare(base, again.merge_and_unload()) < 1e-5


def test_we_read_peft_s(case: Any, home: nn.Module, base: Artifact, tmp_path: Path) -> None:
    (component,) = base.model.components
    adapted = peft.get_peft_model(home, peft.LoraConfig(r=3, lora_alpha=5, lora_dropout=0.1, **case[4])).eval()
    stir({name: weight for name, weight in adapted.named_parameters() if weight.requires_grad})
    adapted.save_pretrained(tmp_path / "adapter")
    assert compare(base, adapted) > 1e-2
    places = layout(base, component)
    adapter_files.read(tmp_path / "adapter", base.model, places)
    assert compare(base, adapted) < 1e-5
    lora.merge(base.model)
    assert compare(base, adapted) < 1e-5


def test_there_and_back(base: Artifact, case: Any, tmp_path: Path) -> None:
    (component,) = base.model.components
    places, again = layout(base, component), api.load(tmp_path / "home")
    settings = LoRA(rank=2, targets=case[3])
    lora.adapt(base.model, [component], settings, seed=0)
    stir({name: weight for name, weight in base.model.named_parameters() if weight.requires_grad})
    adapter_files.write(tmp_path / "adapter", adapter_files.learned(base.model, settings), places)
    adapter_files.read(tmp_path / "adapter", again.model, places)
    for model in (base.model, again.model):
        lora.merge(model)
    for name, tensor in base.model.state_dict().items():
        assert relative(again.model.state_dict()[name], tensor) < 1e-5, name


def test_the_keys_are_those_that_peft_writes(tmp_path: Path) -> None:
    """Of the same adapter on the same model."""
    kind, config, shape, _, _ = CASES["bert"]
    home: Any = unit_scale(getattr(transformers, kind)(getattr(transformers, config)(**shape)))
    home.save_pretrained(tmp_path / "home")
    base = api.load(tmp_path / "home")
    (component,) = base.model.components
    places, settings = layout(base, component), LoRA(rank=3, alpha=5)
    lora.adapt(base.model, [component], settings, seed=0)
    adapter_files.write(tmp_path / "ours", adapter_files.learned(base.model, settings), places)
    whole = ["classifier", "pooler.dense"]
    asked = peft.LoraConfig(r=3, lora_alpha=5, target_modules=["query", "value"], modules_to_save=whole)
    peft.get_peft_model(home, asked).save_pretrained(tmp_path / "theirs")
    ours, theirs = (_shapes(tmp_path / name) for name in ("ours", "theirs"))
    assert ours == theirs
    told = json.loads((tmp_path / "ours" / adapter_files.CONFIG).read_text())
    assert (told["r"], told["lora_alpha"], told["rank_pattern"], told["alpha_pattern"]) == (3, 5, {}, {})


def _shapes(folder: Path) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in load_file(folder / adapter_files.WEIGHTS).items()}


def test_without_a_family_the_names_are_ours(letters: ModuleType, new_letters_model: Callable[..., Artifact]) -> None:
    """No family has the tasks of the tests."""
    assert layout(new_letters_model("richest"), "letters/richest") is None
