"""Encoder-decoders: the spellings of their files that the home library does not write any more, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cells_seq2seq as cells
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from anyformer import api
from anyformer.testing.parity import new_home

pytest.importorskip("transformers")
CELLS = {cell.family: cell for cell in cells.CELLS}


def made(family: str, number: int, folder: Path, **changes: Any) -> Path:
    """A new checkpoint with changes to its `config.json`, where None takes a key away."""
    home: Any = new_home(CELLS[family], CELLS[family].shapes[number])
    (CELLS[family].save or type(home).save_pretrained)(home, folder)
    config = json.loads((folder / "config.json").read_text()) | changes
    kept = {key: value for key, value in config.items() if key not in changes or value is not None}
    (folder / "config.json").write_text(json.dumps(kept))
    return folder


def with_copies(folder: Path, *keys: str, **more: torch.Tensor) -> dict[str, torch.Tensor]:
    """The folder's weights with copies of the table under further keys, as old files have them."""
    weights = load_file(folder / "model.safetensors")
    shared = next(tensor for key, tensor in weights.items() if key.endswith("shared.weight"))
    weights |= {key: shared.clone() for key in keys} | more
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return weights


def exported(folder: Path) -> dict[str, torch.Tensor]:
    api.export(api.load(folder), folder.parent / "export")
    return load_file(folder.parent / "export" / "model.safetensors")


@pytest.mark.parametrize("family", ["t5", "bart", "marian"])
def test_copies_and_computed_tables_of_old_files_are_read_and_written_again(family: str, tmp_path: Path) -> None:
    folder = made(family, 0, tmp_path / "old")
    prefix = "" if family == "t5" else "model."
    more = {}
    if family == "marian":
        positions = torch.from_numpy(np.stack([_sinusoid(position, 24) for position in range(33)])).float()
        more = {f"model.{stack}.embed_positions.weight": positions.clone() for stack in ("encoder", "decoder")}
    if family == "t5":  # a bias that cross-attention never read
        more = {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight": torch.randn(32, 3)}
    copies = [f"{prefix}encoder.embed_tokens.weight", f"{prefix}decoder.embed_tokens.weight", "lm_head.weight"]
    before = with_copies(folder, *copies, **more)
    after = exported(folder)
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[key]) for key, tensor in before.items())


def _sinusoid(position: int, width: int) -> np.ndarray[Any, Any]:
    angles = [position / 10000 ** (2 * index / width) for index in range(width // 2)]
    return np.array([*np.sin(angles), *np.cos(angles)])


def test_an_old_t5_that_is_not_tied_says_so_by_another_key(tmp_path: Path) -> None:
    folder = made("t5", 1, tmp_path / "old", tie_word_embeddings=False, scale_decoder_outputs=None)
    head: Any = api.load(folder).model["nlp/translation"].head
    assert (head.tied, head.scale) == (False, 1.0)
    assert torch.equal(head.output.weight, load_file(folder / "model.safetensors")["lm_head.weight"])


def test_a_copy_with_a_value_of_its_own_is_refused(tmp_path: Path) -> None:
    folder = made("bart", 0, tmp_path / "odd")
    with_copies(folder, **{"lm_head.weight": torch.zeros(61, 24)})
    with pytest.raises(ValueError, match=r"'lm_head.weight' must equal embedding\.streams\.target\.table\.weight"):
        api.load(folder)


def test_positions_that_are_not_sinusoids_are_refused(tmp_path: Path) -> None:
    folder = made("marian", 0, tmp_path / "odd")
    with_copies(folder, **{"model.encoder.embed_positions.weight": torch.zeros(33, 24)})
    with pytest.raises(ValueError, match="is not the constant that the model computes"):
        api.load(folder)


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("t5", {"feed_forward_proj": "gated-tanh"}, "'feed_forward_proj' is 'gated-tanh'; supported: relu, gelu, "),
        (
            "t5",
            {"feed_forward_proj": "relu", "dense_act_fn": "gelu"},
            "'dense_act_fn' is 'gelu'; .* 'relu' means 'relu'",
        ),
        ("t5", {"is_gated_act": True}, "'is_gated_act' is True; 'feed_forward_proj' 'relu' means False"),
        ("mt5", {"chronos_config": {"n_tokens": 4096}}, "'chronos_config' is {'n_tokens': 4096}; supported: None"),
        ("bart", {"tie_word_embeddings": False}, "'tie_word_embeddings' is False; supported: True"),
        ("marian", {"share_encoder_decoder_embeddings": False}, "'share_encoder_decoder_embeddings' is False"),
        ("marian", {"decoder_vocab_size": 50}, "'decoder_vocab_size' is 50; supported: that of 'vocab_size', 61"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_is_not_supported_is_refused(family: str, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        api.load(made(family, 0, tmp_path / "odd", **changes))


def test_rules_of_generation_come_from_their_own_file_or_from_the_configuration(tmp_path: Path) -> None:
    def rules(folder: Path) -> tuple[Any, ...]:
        chosen = api.load(folder).model["nlp/translation"].task.config
        return chosen.forced_first, chosen.forced_last, chosen.suppressed

    folder = made("bart", 1, tmp_path / "bart", bad_words_ids=[[9]])
    assert rules(folder) == (0, 2, ())
    (folder / "generation_config.json").write_text("{}")
    assert rules(folder) == (None, None, ())
    (folder / "generation_config.json").write_text("[]")
    with pytest.raises(ValueError, match=r"generation_config\.json holds no settings: it is no mapping"):
        rules(folder)
    (folder / "generation_config.json").unlink()
    assert rules(folder) == (None, 2, (9,))
    marian = made("marian", 0, tmp_path / "marian")
    (marian / "generation_config.json").write_text('{"forced_eos_token_id": 3}')
    assert rules(marian) == (None, 3, (60,))
    (marian / "generation_config.json").write_text('{"bad_words_ids": [[4, 5]]}')
    with pytest.raises(ValueError, match=r"'bad_words_ids' is \[\[4, 5\]\]; supported: single ids"):
        rules(marian)


def test_rules_of_generation_are_exported(tmp_path: Path) -> None:
    import transformers

    folder = made("bart", 1, tmp_path / "bart")
    api.export(api.load(folder), tmp_path / "export")
    home = transformers.BartForConditionalGeneration.from_pretrained(tmp_path / "export")
    assert (home.generation_config.forced_bos_token_id, home.generation_config.forced_eos_token_id) == (0, 2)
