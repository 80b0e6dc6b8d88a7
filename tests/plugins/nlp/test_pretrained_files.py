"""The files of a checkpoint's tokenizer: kept as they are, and refused in one line where they are damaged."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyformer_nlp import tokenizer_files
from anyformer_nlp.pretrained import Pretrained

EVERY = ["bert", "gpt2", "roberta", "fast_roberta", "fast_t5", "stories", "mini_lm", "t5", "llama", "marian"]


def put(folder: Path, **files: Any) -> None:
    """Write JSON files, `__` in a name being a dot."""
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize("made", ["t5", "marian"])
def test_pieces_cannot_be_told_to_read_special_ids(checkpoint: Any, made: str) -> None:
    with pytest.raises(ValueError, match=r"special_in_text is possible with a tokenizer\.json"):
        Pretrained(Pretrained.Config(special_in_text=True, model_type="t5")).load(checkpoint(made)[0])


@pytest.mark.parametrize("made", EVERY)
def test_an_artifact_keeps_the_files_byte_for_byte(checkpoint: Any, made: str, tmp_path: Path) -> None:
    folder, config = checkpoint(made)
    ours = Pretrained.read(folder, config)
    ours.save(tmp_path)
    again = Pretrained(Pretrained.Config.model_validate(ours.config.model_dump(mode="json")))
    again.load(tmp_path)
    exported = tmp_path / "exported"
    exported.mkdir()
    again.write(exported)
    kept = {path.name for path in exported.iterdir()}
    assert kept == {path.name for path in folder.iterdir()}
    for name in kept:
        assert (exported / name).read_bytes() == (folder / name).read_bytes()
    for name in ("vocabulary_size", "start_id", "end_id", "mask_id", "pad_id", "unknown_id", "special_ids"):
        assert getattr(again, name) == getattr(ours, name)
    np.testing.assert_array_equal(again.encode("the café")["ids"], ours.encode("the café")["ids"])


def test_truncation_and_padding_of_a_file_are_not_silent(checkpoint: Any, tmp_path: Path) -> None:
    content = json.loads((checkpoint("fast_bert")[0] / "tokenizer.json").read_text())
    content["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    content["padding"] = {
        "strategy": {"Fixed": 40}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "[PAD]",
    }  # fmt: skip
    put(tmp_path, tokenizer__json=content)
    assert len(Pretrained.read(tmp_path, {}).encode("the cat sat on the mat")["ids"]) == 6


def test_a_model_may_come_without_its_tokenizer(tmp_path: Path) -> None:
    ours = Pretrained.read(tmp_path, {"vocab_size": 30, "bos_token_id": 1, "eos_token_id": [2, 3]})
    assert (ours.vocabulary_size, ours.start_id, ours.end_id) == (30, 1, 2)
    ours.save(tmp_path)
    assert list(tmp_path.iterdir()) == []
    for action in (lambda: ours.encode("text"), lambda: ours.decode(np.array([5])), lambda: ours.fit([], None)):  # type: ignore[arg-type]
        with pytest.raises(
            ValueError, match=r"its folder, which has no tokenizer files; put its tokenizer\.json"
        ) as caught:
            action()
        assert "\n" not in str(caught.value)


def test_a_tokenizer_that_was_not_read_says_so() -> None:
    with pytest.raises(ValueError, match=r"has read no files; make it by Pretrained\.read"):
        Pretrained(Pretrained.Config()).encode("text")
    with pytest.raises(ValueError, match="it learns nothing from a corpus, as nlp/bpe and nlp/words do"):
        Pretrained(Pretrained.Config()).fit(["text"], np.random.default_rng(0))


@pytest.mark.parametrize(
    ("made", "kind", "files"),
    [
        ("gpt2", "CLIPTokenizer", r"tokenizer_config\.json, vocab\.json, merges\.txt"),
        ("bert", "EsmTokenizer", r"tokenizer_config\.json, vocab\.txt"),
        ("t5", "AlbertTokenizer", r"tokenizer_config\.json, spiece\.model"),
    ],
)
def test_files_of_an_unknown_kind_leave_the_model_readable(
    checkpoint: Any, made: str, kind: str, files: str, tmp_path: Path
) -> None:
    shutil.copytree(checkpoint(made)[0], tmp_path, dirs_exist_ok=True)
    put(tmp_path, tokenizer_config__json={"tokenizer_class": kind})
    with pytest.raises(ValueError, match=f"tokenizer cannot be read from {files}; put its"):
        Pretrained.read(tmp_path, {"vocab_size": 330}).encode("text")


def test_roles_can_be_given(checkpoint: Any) -> None:
    folder, _ = checkpoint("bert")
    ours = Pretrained(Pretrained.Config(start="[MASK]", end=7))
    ours.load(folder)
    assert (ours.start_id, ours.end_id) == (4, 7)
    with pytest.raises(ValueError, match="mask='<m>' is no token of this tokenizer"):
        Pretrained(Pretrained.Config(mask="<m>")).load(folder)


def test_files_of_another_model_are_refused(checkpoint: Any) -> None:
    ours = Pretrained.read(checkpoint("bert")[0], {"vocab_size": 20})
    with pytest.raises(ValueError, match="and the model has 20 rows; its tokenizer's files are of another model"):
        ours.encode("the cat")
    with pytest.raises(ValueError, match="ids must be from 0 to 19; got 3 to 20"):
        ours.decode(np.array([3, 20]))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"tokenizer.json": "{"}, "the tokenizers library cannot read tokenizer.json"),
        ({"tokenizer.json": "\xff"}, "cannot read tokenizer.json: byte 0 is no UTF-8"),
        ({"vocab.txt": "a\nb\n"}, r"cannot read vocab.txt: it is no vocabulary of WordPiece, which has '\[UNK\]'"),
        ({"vocab.json": "[1]", "merges.txt": ""}, "cannot read vocab.json: a JSON object is expected, it holds a list"),
        ({"vocab.json": '{"a": "b"}', "merges.txt": ""}, "cannot read vocab.json: it must give each token an id"),
        ({"vocab.json": '{"a": 0}', "merges.txt": "a b c\n"}, "cannot read merges.txt: each line must be two pieces"),
        ({"vocab.json": '{"a": 0}', "merges.txt": "x y\n"}, "the tokenizers library cannot read vocab.json and merges.txt"),
        ({"tokenizer.model": "junk"}, "cannot read tokenizer.model: the sentencepiece library says"),
        ({"spiece.model": ""}, "cannot read spiece.model: the sentencepiece library says"),
        ({"source.spm": "x", "target.spm": "x", "vocab.json": "{}"}, "cannot read source.spm"),
        ({"tokenizer_config.json": "{"}, "cannot read tokenizer_config.json: it is no JSON"),
        ({"tokenizer_config.json": "[" * 100_000}, "cannot read tokenizer_config.json: it is no JSON"),
        ({"tokenizer_config.json": '{"mask_token": 3}'}, "a special token is '3'; a text is expected"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_line(files: dict[str, str], message: str, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=message) as caught:
        Pretrained.read(tmp_path, {"model_type": "llama", "vocab_size": 10})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("made", "name", "content", "message"),
    [
        ("t5", "tokenizer_config.json", {"extra_ids": -1}, "extra_ids is '-1'; give 0 to 10000"),
        ("marian", "tokenizer_config.json", {"separate_vocabs": True}, "with separate vocabularies cannot be read"),
        ("marian", "vocab.json", {"a": 0, "</s>": 1}, "cannot read vocab.json: it has no '<unk>', which Marian needs"),
        ("gpt2", "added_tokens.json", {"<|user|>": 900}, "disagree on the id of '<|user|>': 900 where tokens are added, 3"),
        ("gpt2", "added_tokens.json", {"<|user|>": "x"}, "cannot read the added tokens of tokenizer_config.json"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_together_are_one_line(
    checkpoint: Any, made: str, name: str, content: Any, message: str, tmp_path: Path
) -> None:
    shutil.copytree(checkpoint(made)[0], tmp_path, dirs_exist_ok=True)
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        Pretrained.read(tmp_path, checkpoint(made)[1])
    assert "\n" not in str(caught.value)


def words(folder: Path, vocabulary: dict[str, int], special: list[str], processor: Any = None) -> Path:
    """A `tokenizer.json` whose model looks up whole words, so that a special token is a word like any other."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    rust = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    rust.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if processor is not None:
        rust.post_processor = processor
    rust.add_special_tokens(special)
    rust.save(str(folder / "tokenizer.json"))
    return folder


def test_a_special_token_in_the_vocabulary_of_words_is_spelled_by_letters(tmp_path: Path) -> None:
    vocabulary = {"a": 0, "<s>": 1, "<": 2, "s": 3, "[UNK]": 4}
    ours = Pretrained.read(words(tmp_path, vocabulary, ["<s>"]), {})
    ids, spans = ours.encode_spans("a <s> a")
    assert ids.tolist() == [0, 2, 3, 4, 0]
    assert spans.tolist() == [[0, 1], [2, 3], [3, 4], [4, 5], [6, 7]]


def test_a_special_token_that_nothing_spells_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    rust = Tokenizer(models.BPE({"a": 0, "<s>": 1}, [], ignore_merges=True))
    rust.add_special_tokens(["<s>"])
    rust.save(str(tmp_path / "tokenizer.json"))
    ours = Pretrained.read(tmp_path, {})
    assert ours.encode("aa")["ids"].tolist() == [0, 0]
    with pytest.raises(ValueError, match="the text has '<s>', a special token that no other ids can spell; remove it"):
        ours.encode("<s>")


def test_a_tokenizer_of_special_tokens_alone_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    rust = Tokenizer(models.BPE())
    rust.add_special_tokens(["<s>"])
    rust.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match="the tokenizer knows no token but special ones"):
        Pretrained.read(tmp_path, {})


def test_a_template_that_leaves_a_text_out_is_refused(tmp_path: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    words(tmp_path, {"a": 0, "[UNK]": 1}, [], TemplateProcessing("$A", "$A $B"))
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    content["post_processor"]["pair"] = content["post_processor"]["pair"][:1]
    put(tmp_path, tokenizer__json=content)
    with pytest.raises(ValueError, match=r"the post-processor of tokenizer\.json leaves a text out"):
        Pretrained.read(tmp_path, {})


@pytest.mark.parametrize(
    ("config", "message"),
    [({"vocab_size": "x"}, "vocab_size is 'x'; a whole number from 1"), ({}, "neither the files of a tokenizer nor")],
)
def test_a_model_of_no_size_is_refused(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        Pretrained.read(tmp_path, config)


def test_nothing_outside_the_folder_is_read(checkpoint: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = checkpoint("fast_gpt2")[0] / "tokenizer.json"
    folder = tmp_path / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").symlink_to(source)
    with pytest.raises(ValueError, match=r"tokenizer\.json is a link out of its folder"):
        Pretrained.read(folder, {})
    (tmp_path / "blobs").mkdir()
    shutil.copy(source, tmp_path / "blobs" / "123")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to("../../blobs/123")
    assert Pretrained.read(folder, {}).encode("the cat")["ids"].size
    monkeypatch.setattr(tokenizer_files, "LARGEST", 1000)
    with pytest.raises(ValueError, match="bytes; a tokenizer file has at most 1,000"):
        Pretrained.read(folder, {})
