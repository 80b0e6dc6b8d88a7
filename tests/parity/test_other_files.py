"""Files as other versions wrote them, models made here, and settings that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cells_decoders
import cells_nlp
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import anyformer
from anyformer import api, plugins
from anyformer.artifact import Artifact, build_model
from anyformer.nn.config import Trunk
from anyformer.nn.pack import Pack, Part
from anyformer.testing.parity import relative, unit_scale

transformers = pytest.importorskip("transformers")
SMALL = cells_decoders.SMALL
IDS = [5, 9, 33, 7, 60, 12, 5, 8, 21]
ROPE = ("rope_parameters", "head_dim")


def saved(
    folder: Path, name: str, shape: dict[str, Any], without: tuple[str, ...] = (), **keys: Any
) -> dict[str, Tensor]:
    """A folder of the home library's class `name`, its `config.json` changed; returns its weights."""
    family = name.removesuffix("LMHeadModel").partition("For")[0]
    home = getattr(transformers, name)(getattr(transformers, f"{family}Config")(**shape))
    unit_scale(home).save_pretrained(folder)
    path = folder / "config.json"
    config = {key: value for key, value in json.loads(path.read_text()).items() if key not in without}
    path.write_text(json.dumps(config | keys))
    return load_file(folder / "model.safetensors")


@torch.inference_mode()
def compare(folder: Path, part: str, tmp_path: Path) -> None:
    """Our answer is the home library's to the same folder, and an export has the same weights."""
    artifact = anyformer.load(folder)
    (architecture,) = json.loads((folder / "config.json").read_text())["architectures"]
    home = getattr(transformers, architecture).from_pretrained(folder).eval()
    assert relative(_ours(artifact, part), home(torch.tensor([IDS])).logits[0]) < 1e-5
    api.export(artifact, tmp_path / "export")
    before, after = (load_file(each / "model.safetensors") for each in (folder, tmp_path / "export"))
    assert before.keys() == after.keys()
    for key, tensor in before.items():
        assert tensor.dtype == after[key].dtype
        assert torch.equal(tensor, after[key]), key
    again = getattr(transformers, architecture).from_pretrained(tmp_path / "export").eval()
    assert torch.equal(again(torch.tensor([IDS])).logits, home(torch.tensor([IDS])).logits)


@torch.inference_mode()
def _ours(artifact: Artifact, part: str) -> Tensor:
    (component,) = artifact.model.components
    parts = {part: Part(torch.tensor(IDS), Pack.of([len(IDS)], torch.device("cpu")))}
    return artifact.model[component].head(artifact.model.encode(parts, component))


@pytest.mark.parametrize(
    "keys",
    [
        {"rope_theta": 300.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
        {"rope_theta": 70.0, "rope_scaling": None},
        {
            "rope_theta": 50.0,
            "rope_scaling": {
                "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            },
        },
        {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": {"rope_theta": 50.0}},
    ],
)  # fmt: skip
def test_older_llama(keys: dict[str, Any], tmp_path: Path) -> None:
    tensors = saved(tmp_path / "old", "LlamaForCausalLM", SMALL, without=ROPE, **keys)
    for index in range(2):
        tensors[f"model.layers.{index}.self_attn.rotary_emb.inv_freq"] = torch.arange(4).half()
    save_file(tensors, tmp_path / "old" / "model.safetensors", {"format": "pt"})
    compare(tmp_path / "old", "target", tmp_path)


def test_gpt2_as_published(tmp_path: Path) -> None:
    tensors = saved(tmp_path / "old", "GPT2LMHeadModel", cells_decoders.GPT2)
    bare = {key.removeprefix("transformer."): tensor for key, tensor in tensors.items()}
    for index in range(2):
        bare[f"h.{index}.attn.bias"] = torch.ones(1, 1, 33, 33, dtype=torch.uint8).tril()
        bare[f"h.{index}.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(bare, tmp_path / "old" / "model.safetensors", {"format": "pt"})
    compare(tmp_path / "old", "target", tmp_path)


def test_roberta_as_published(tmp_path: Path) -> None:
    """With what old files have beside weights: position ids, and a pooler that no head reads."""
    tensors = saved(tmp_path / "old", "RobertaForMaskedLM", cells_nlp.ROBERTA[0], position_embedding_type="absolute")
    tensors["roberta.embeddings.position_ids"] = torch.arange(33)[None]
    tensors["roberta.pooler.dense.weight"] = torch.ones(24, 24)
    tensors["roberta.pooler.dense.bias"] = torch.ones(24)
    save_file(tensors, tmp_path / "old" / "model.safetensors", {"format": "pt"})
    compare(tmp_path / "old", "source", tmp_path)


def test_copies_of_tied_weights(tmp_path: Path) -> None:
    """As ChemBERTa's files have them."""
    tensors = saved(tmp_path / "old", "RobertaForMaskedLM", cells_nlp.ROBERTA[0])
    tensors["lm_head.decoder.weight"] = tensors["roberta.embeddings.word_embeddings.weight"].clone()
    tensors["lm_head.decoder.bias"] = tensors["lm_head.bias"].clone()
    save_file(tensors, tmp_path / "old" / "model.safetensors", {"format": "pt"})
    compare(tmp_path / "old", "source", tmp_path)


LLAMA = {"causal": True, "norm": {"kind": "rms"}, "feed_forward": {"gated": True, "activation": "silu", "bias": False},
         "attention": {"heads": 4, "bias": False, "output_bias": False}}  # fmt: skip
ROTARY = {"base": 77.0, "scaling": {"name": "linear", "factor": 2.0}}


@pytest.mark.parametrize(
    ("family", "trunk"),
    [
        ("gpt2", {"causal": True, "position": {"kind": "learned", "length": 16}, "attention": {"heads": 4}}),
        ("llama", LLAMA | {"position": ROTARY}),
        ("mistral", LLAMA | {"attention": LLAMA["attention"] | {"window": 3}}),
        ("qwen2", LLAMA | {"attention": LLAMA["attention"] | {"bias": True, "window": 3}}),
        ("qwen3", LLAMA | {"attention": LLAMA["attention"] | {"query_key_norm": "rms", "key_value_heads": 2}}),
    ],
)
@torch.inference_mode()
def test_a_model_made_here(family: str, trunk: dict[str, Any], tmp_path: Path) -> None:
    kind = plugins.task("nlp/text-generation")
    tokenizer = plugins.tokenizer("nlp/bytes")(plugins.tokenizer("nlp/bytes").Config())
    task = kind(kind.Config(context=16), {"text": tokenizer}, {})
    settings = Trunk.model_validate({"decoder": {"width": 32, "depth": 2, **trunk}})
    artifact = Artifact(build_model(settings, {"nlp/text-generation": task}).eval(), settings)
    unit_scale(artifact.model)
    api.export(artifact, tmp_path / "export", family=f"nlp/{family}")
    home = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "export").eval()
    assert relative(_ours(artifact, "target"), home(torch.tensor([IDS])).logits[0]) < 1e-5


@pytest.mark.parametrize(
    ("name", "shape", "keys", "said"),
    [
        ("LlamaForCausalLM", SMALL, {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}},
         "'rope_type' is 'yarn'; supported: 'default', 'linear', 'llama3'"),
        ("LlamaForCausalLM", SMALL, {"rope_scaling": {"rope_type": "linear"}},
         "'factor' is missing beside 'rope_type' 'linear'"),
        ("LlamaForCausalLM", SMALL, {"partial_rotary_factor": 0.5}, "'partial_rotary_factor' is 0.5; supported: 1.0"),
        ("Qwen2ForCausalLM", SMALL, {"layer_types": ["full_attention", "sliding_attention"], "use_sliding_window": True},
         "give a window to 1 of 2 blocks; supported: all or none"),
        ("GPT2LMHeadModel", cells_decoders.GPT2, {"scale_attn_by_inverse_layer_idx": True},
         "'scale_attn_by_inverse_layer_idx' is True; supported: False"),
        ("RobertaForMaskedLM", cells_nlp.ROBERTA[0], {"pad_token_id": None},
         "'pad_token_id' is None and 'max_position_embeddings' is 33; positions begin after the first"),
    ],
)  # fmt: skip
def test_refused(name: str, shape: dict[str, Any], keys: dict[str, Any], said: str, tmp_path: Path) -> None:
    saved(tmp_path, name, shape, **keys)
    with pytest.raises(ValueError, match=r"supported|missing|positions") as error:
        anyformer.load(tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_roberta_needs_a_row_for_padding() -> None:
    from anyformer.families import fields, roberta

    (row,) = (each for each in roberta.FIELDS if isinstance(each, fields.Computed))
    trunk = Trunk.model_validate({"encoder": {"position": {"kind": "learned"}}})
    with pytest.raises(ValueError, match="offset is 0; RoBERTa's positions begin after the row of a padding id"):
        row.write({"trunk": trunk.model_dump()}, {})
