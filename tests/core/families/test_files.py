"""Checkpoints from strangers: each damaged, oversized or malicious one gives its one line, and nothing else happens."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import anyformer
from anyformer.families import files, hub

WEIGHT = "bert.encoder.layer.0.attention.self.query.weight"


def refused(folder: Path | str, **more: Any) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        anyformer.load(folder, **more)
    said = str(caught.value)
    assert "\n" not in said
    return said


def rewritten(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    tensors = load_file(folder / files.WEIGHTS)
    change(tensors)
    save_file(tensors, folder / files.WEIGHTS)
    return folder


# -- weights


def test_a_weight_that_is_missing(broken: Path) -> None:
    said = refused(rewritten(broken, lambda tensors: tensors.__delitem__(WEIGHT)))
    assert f"lacks the weight '{WEIGHT}'" in said


def test_a_weight_that_nobody_knows(broken: Path) -> None:
    said = refused(rewritten(broken, lambda tensors: tensors.update(surprise=torch.zeros(2))))
    assert "has the weight 'surprise', which this family does not know" in said


def test_a_weight_of_another_shape(broken: Path) -> None:
    said = refused(rewritten(broken, lambda tensors: tensors.update({WEIGHT: torch.zeros(12, 11)})))
    assert f"'{WEIGHT}' has shape [12, 11]; the configuration asks for [12, 12]" in said


def test_a_weight_of_another_type(broken: Path) -> None:
    said = refused(rewritten(broken, lambda tensors: tensors.update({WEIGHT: torch.zeros(12, 12, dtype=torch.int32)})))
    assert f"'{WEIGHT}' has numbers of type I32; read: F16, BF16, F32, F64" in said


def test_a_tied_weight_with_a_value_of_its_own(broken: Path) -> None:
    said = refused(rewritten(broken, lambda tensors: tensors.update({"cls.predictions.decoder.bias": torch.ones(31)})))
    assert "'cls.predictions.decoder.bias' must equal head.output.bias" in said


def test_half_precision_is_read_wide_and_written_back_as_it_was(broken: Path, tmp_path: Path) -> None:
    def narrow(tensors: dict[str, torch.Tensor]) -> None:
        tensors.update({name: tensor.bfloat16() for name, tensor in tensors.items()})

    found = anyformer.load(rewritten(broken, narrow))
    assert {parameter.dtype for parameter in found.model.parameters()} == {torch.float32}
    anyformer.export(found, tmp_path / "out")
    before, after = load_file(broken / files.WEIGHTS), load_file(tmp_path / "out" / files.WEIGHTS)
    assert all(torch.equal(before[name], after[name]) and after[name].dtype == torch.bfloat16 for name in before)


def test_old_names_of_norms_and_a_file_without_its_prefix(broken: Path, bert: Path) -> None:
    def old(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            renamed = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
            tensors[renamed.removeprefix("bert.")] = tensors.pop(name)

    ours, true = (anyformer.load(folder).model.state_dict() for folder in (rewritten(broken, old), bert))
    assert all(torch.equal(ours[name], tensor) for name, tensor in true.items())


def test_a_weight_under_two_names(broken: Path) -> None:
    name = "bert.embeddings.LayerNorm"
    said = refused(
        rewritten(broken, lambda tensors: tensors.update({f"{name}.gamma": tensors[f"{name}.weight"].clone()}))
    )
    assert "has one weight twice, as" in said


def test_a_buffer_of_old_files_goes_back_as_it_was(broken: Path, tmp_path: Path) -> None:
    name, positions = "bert.embeddings.position_ids", torch.arange(16)[None]
    found = anyformer.load(rewritten(broken, lambda tensors: tensors.update({name: positions})))
    anyformer.export(found, tmp_path / "out")
    assert torch.equal(load_file(tmp_path / "out" / files.WEIGHTS)[name], positions)
    said = refused(rewritten(broken, lambda tensors: tensors.update({name: positions + 1})))
    assert f"{name!r} is not the constant that the model computes" in said


@pytest.mark.parametrize("cut", [0, 4, 200, -1])
def test_a_truncated_file(broken: Path, cut: int) -> None:
    path = broken / files.WEIGHTS
    path.write_bytes(path.read_bytes()[:cut])
    assert "cannot be read, it is damaged or no safetensors file" in refused(broken)


def test_a_header_that_promises_too_much(broken: Path) -> None:
    path = broken / files.WEIGHTS
    path.write_bytes((2**60).to_bytes(8, "little") + path.read_bytes()[8:])
    assert "cannot be read, it is damaged or no safetensors file" in refused(broken)


# -- shards


def test_shards_are_read_and_written(bert: Path, broken: Path, tmp_path: Path) -> None:
    tensors = load_file(bert / files.WEIGHTS)
    (broken / files.WEIGHTS).unlink()
    files.write_weights(tensors, broken, largest=1000)
    assert len(list(broken.glob("model-*.safetensors"))) > 2
    found = anyformer.load(broken)
    anyformer.export(found, tmp_path / "out")
    after = load_file(tmp_path / "out" / files.WEIGHTS)
    assert all(torch.equal(tensors[name], after[name]) for name in tensors)
    next(broken.glob("model-00002*")).unlink()
    assert "lacks model-00002" in refused(broken)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "weights.bin"])
def test_an_index_that_leads_out_of_the_folder(broken: Path, name: str) -> None:
    (broken / files.WEIGHTS).unlink()
    (broken / files.INDEX).write_text(json.dumps({"weight_map": {WEIGHT: name}}))
    assert f"names {name!r}; a file of weights is a .safetensors file in the folder" in refused(broken)
    (broken / files.INDEX).write_text("[]")
    assert "has no 'weight_map' from weights to files" in refused(broken)


def test_a_pickle_is_refused_with_the_way_to_convert_it(broken: Path) -> None:
    (broken / files.WEIGHTS).rename(broken / "pytorch_model.bin")
    said = refused(broken)
    assert "in pytorch_model.bin, a pickle, which can run any code when it is read: refused" in said
    assert "save_pretrained" in said
    (broken / "pytorch_model.bin").unlink()
    assert "has no model.safetensors; it has: 'config.json'" in refused(broken)


# -- configuration


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model_type": "brett"}, "unknown architecture 'brett'; the installed plugins read: "),
        ({"architectures": ["BertForMaskedLm"]}, "unknown architecture 'BertForMaskedLm' (did you mean 'BertForMaskedLM'?)"),
        ({"architectures": "BertForMaskedLM"}, "it must be a list of class names"),
        ({"position_embedding_type": "relative_key"}, "'position_embedding_type' is 'relative_key'; supported: 'absolute'"),
        ({"hidden_act": "mish"}, "'hidden_act' is 'mish'; supported: 'gelu', "),
        ({"hidden_act": ["gelu"]}, "'hidden_act' is ['gelu']; supported"),
        ({"num_attention_heads": 5}, "width 12 is not divisible by 5 heads"),
        ({"num_hidden_layers": 3}, "lacks the weight 'bert.encoder.layer.2."),
        ({"num_hidden_layers": 1}, "has the weight 'bert.encoder.layer.1."),
        ({"num_hidden_layers": 10**12}, "less than or equal to"),
        ({"hidden_size": 3 * 10**6}, "the configuration asks for [31, 3000000]"),
        ({"hidden_size": 3 * 10**9}, "a model of these sizes cannot be built"),
        ({"hidden_size": {}}, "config.json"),
        ({"vocab_size": -1}, "vocab_size"),
        ({"type_vocab_size": 0}, "its settings give the model no "),
    ],
)  # fmt: skip
def test_a_configuration_that_lies(configured: Callable[..., Path], values: dict[str, Any], said: str) -> None:
    assert said in refused(configured(**values))


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00", "[" * 100_000, '"' + "a" * 10])
def test_a_configuration_that_is_none(broken: Path, text: str) -> None:
    (broken / "config.json").write_text(text)
    assert "config.json" in refused(broken)


def test_a_task_that_the_file_cannot_serve(bert: Path) -> None:
    said = refused(bert, task="nlp/question-answering")
    assert "this BertForMaskedLM serves nlp/text-embedding, nlp/fill-mask, not nlp/question-answering" in said
    assert f"anyformer finetune nlp/question-answering --model {bert}" in said
    assert anyformer.load(bert, task="nlp/text-embedding").component() == "nlp/text-embedding"


def test_loading_opens_imports_and_calls_nothing_outside_the_folder(configured: Callable[..., Path]) -> None:
    evil = configured(
        auto_map={"AutoModel": "evil.Model", "AutoConfig": "/tmp/evil.py"}, _name_or_path="http://example.org/x",
        custom_pipelines={"x": {"impl": "evil.Pipe"}}, tokenizer_class="../../evil", torch_dtype="os.system",
    )  # fmt: skip
    (evil / "evil.py").write_text("raise SystemExit('imported')")
    script = f"""
import sys, pathlib
import anyformer
anyformer.load({str(evil)!r})
folder, seen = {str(evil)!r}, []
def watch(event, given):
    if event == "import" or event.startswith(
        ("socket.", "subprocess.", "os.system", "os.exec", "exec", "compile", "pickle.")
    ):
        seen.append((event, str(given)[:80]))
    elif event == "open" and not str(given[0]).startswith(folder):
        seen.append((event, str(given[0])))
sys.addaudithook(watch)
anyformer.load(folder)
loud = list(seen)
print(loud)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


# -- the hub


def test_the_hub_is_asked_only_by_its_address(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def snapshot_download(id: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((id, revision))
        assert not {"*.bin", "*.py", "*.pkl"} & set(allow_patterns)
        return str(bert)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert anyformer.load("hf://someone/bert@v1.0").component() == "nlp/fill-mask"
    assert asked == [("someone/bert", "v1.0")]
    assert "write hf://owner/name or hf://owner/name@revision" in refused("hf://bert")
    assert "there is no model at someone/bert" in refused("someone/bert")
    assert len(asked) == 1


def test_a_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise OSError("no route\nto host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    assert refused("hf://a/b") == "hf://a/b cannot be downloaded: no route"
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "hf://a/b needs huggingface_hub: pip install huggingface_hub" in refused("hf://a/b")
    assert hub.HUB == "hf://"
