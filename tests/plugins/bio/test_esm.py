"""ESM's checkpoints as pipelines, and files of older versions; the parity of its modules is in `tests/parity`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import anyformer
from anyformer.artifact import Artifact, unique_tensors
from anyformer_bio.esm_tokenizer import TOKENS

transformers = pytest.importorskip("transformers")
from anyformer.testing.parity import relative, unit_scale  # noqa: E402

SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQ"
SIZES = {
    "vocab_size": 33, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 40,
    "pad_token_id": 1, "mask_token_id": 32, "position_embedding_type": "rotary", "token_dropout": True,
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Any:
    """A home model with drawn weights, saved in `home`."""
    model = unit_scale(transformers.EsmForMaskedLM(transformers.EsmConfig(**SIZES)))
    model.set_attn_implementation("eager")  # type: ignore[operator]
    model.save_pretrained(tmp_path / "home")  # type: ignore[operator]
    return model


def ids_of(artifact: Artifact, sequence: str) -> torch.Tensor:
    """A protein as the home library takes it, a batch of one."""
    task: Any = artifact.model[artifact.component()].task
    tokenizer = task.tokens["protein"]
    return torch.from_numpy(tokenizer.single(tokenizer.encode(sequence)["ids"]))[None]


def older(folder: Path) -> dict[str, torch.Tensor]:
    """The file as transformers 4 wrote it: frequencies in each block, here in half precision, and an unused table."""
    path = folder / "model.safetensors"
    tensors = {
        key.replace("gamma", "weight").replace("beta", "bias"): tensor for key, tensor in load_file(path).items()
    }
    (key,) = (key for key in tensors if key.endswith("inv_freq"))
    frequencies = tensors.pop(key).half().float()
    for index in range(3):
        tensors[f"esm.encoder.layer.{index}.attention.self.rotary_embeddings.inv_freq"] = frequencies.clone()
    tensors["esm.embeddings.position_embeddings.weight"] = torch.randn(1026, 24)
    save_file(tensors, path, {"format": "pt"})
    return tensors


def test_a_masked_protein(home: Any, tmp_path: Path) -> None:
    """`_` through the pipeline beside the home library on the same ids."""
    hidden = SEQUENCE[:4] + "_" + SEQUENCE[5:9] + "__" + SEQUENCE[11:]
    artifact = anyformer.load(tmp_path / "home")
    found = anyformer.pipeline(model=artifact)({"sequence": hidden})
    with torch.inference_mode():
        true = home(ids_of(artifact, hidden)).logits[0].softmax(-1)
    for place in found.places:
        for letter, share in place.candidates.items():
            assert share == pytest.approx(float(true[place.place + 1, TOKENS.index(letter)]), rel=1e-4)
    assert [place.place for place in found.places] == [4, 9, 10]


def test_one_file_serves_contacts_too(home: Any, tmp_path: Path) -> None:
    found = anyformer.pipeline("bio/contact-map", model=tmp_path / "home")({"sequence": SEQUENCE}, threshold=0)
    ids = ids_of(anyformer.load(tmp_path / "home"), SEQUENCE)
    with torch.inference_mode():
        true = home.predict_contacts(ids, torch.ones_like(ids))[0].numpy()
    assert len(found.contacts) == sum(range(len(SEQUENCE) - 5))
    for first, second, probability in found.contacts:
        assert probability == pytest.approx(true[first, second], rel=1e-4)


def test_embedding_of_a_bare_model(home: Any, tmp_path: Path) -> None:
    home.esm.save_pretrained(tmp_path / "bare")
    artifact = anyformer.load(tmp_path / "bare")
    found = anyformer.pipeline(model=artifact)({"sequence": SEQUENCE})
    with torch.inference_mode():
        true = home.esm(ids_of(artifact, SEQUENCE)).last_hidden_state[0, 1:-1].mean(0)
    assert found.value is None
    assert relative(torch.tensor(found.vector), true) < 1e-5


def test_older_files_and_their_frequencies(home: Any, tmp_path: Path) -> None:
    """Each block has the same frequencies, in half precision; they are used, and all keys go back."""
    tensors = older(tmp_path / "home")
    artifact = anyformer.load(tmp_path / "home")
    (used,) = (tensor for name, tensor in unique_tensors(artifact.model).items() if name.endswith("frequencies"))
    assert torch.equal(used, used.half().float())
    reread = transformers.EsmForMaskedLM.from_pretrained(tmp_path / "home").eval()
    assert torch.equal(reread.esm.rotary_embeddings.inv_freq, used)
    anyformer.export(artifact, tmp_path / "out")
    again = load_file(tmp_path / "out" / "model.safetensors")
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[key], tensor) for key, tensor in tensors.items())
    assert (tmp_path / "out" / "vocab.txt").is_file()


def test_blocks_with_other_frequencies_are_refused(home: Any, tmp_path: Path) -> None:
    tensors = older(tmp_path / "home")
    key = "esm.encoder.layer.2.attention.self.rotary_embeddings.inv_freq"
    save_file(tensors | {key: tensors[key] * 2}, tmp_path / "home" / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"layer\.2\..*inv_freq' must equal trunk.encoder.positions.frequencies"):
        anyformer.load(tmp_path / "home")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"position_embedding_type": "relative_key"}, "is 'relative_key'; supported: 'rotary', 'absolute'"),
        ({"position_embedding_type": "absolute", "pad_token_id": None}, "'pad_token_id' is None"),
        ({"is_folding_model": True}, "'is_folding_model' is True; supported: False"),
        ({"is_decoder": True}, "'is_decoder' is True; supported: False"),
        ({"mask_token_id": 31}, "'mask_token_id' is 31; supported: 32"),
    ],
)
def test_refusals(changes: dict[str, Any], said: str, home: Any, tmp_path: Path) -> None:
    path = tmp_path / "home" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ValueError, match=said):
        anyformer.load(tmp_path / "home")


def test_baselines_of_a_checkpoint(home: Any, tmp_path: Path) -> None:
    told = anyformer.evaluate(model=tmp_path / "home", data=[{"sequence": SEQUENCE}, {"sequence": SEQUENCE[::-1]}] * 3)
    assert set(told.baselines) == {"background"}
    assert np.isfinite(told.scores["perplexity"]["value"])
