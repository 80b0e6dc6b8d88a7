from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anyformer_bio.esm_tokenizer import LETTERS, TOKENS, Esm


@pytest.fixture
def esm() -> Esm:
    return Esm(Esm.Config())


@pytest.mark.parametrize("text", ["MKTAYIAK", LETTERS, "A.C-D", "MK<mask>AY<mask>", "M K V\nL"])
def test_ids_are_those_of_transformers(esm: Esm, text: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    esm.write(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert type(theirs).__name__ == "EsmTokenizer"
    assert esm.single(esm.encode(text)["ids"]).tolist() == theirs(text).input_ids
    assert (esm.start_id, esm.end_id, esm.mask_id) == (theirs.cls_token_id, theirs.eos_token_id, theirs.mask_token_id)
    assert len(TOKENS) == esm.vocabulary_size == theirs.vocab_size == 33


def test_the_alphabet_is_the_published_one() -> None:
    """ESMFold's copy of it: ids are rows of trained tables, so the order matters."""
    published = pytest.importorskip("transformers.models.esm.configuration_esm").get_default_vocab_list()
    assert published == TOKENS


def test_text_survives_ids(esm: Esm) -> None:
    ids = esm.encode("mk_ .-O<mask>")["ids"]
    assert ids.dtype == np.int64
    assert esm.decode(esm.single(ids)) == "MK_.-O_"
    assert esm.decode(np.arange(33)) == "X" + LETTERS + ".-_"  # padding and the null token stand for nothing


def test_a_folder_is_written_and_read(esm: Esm, tmp_path: Path) -> None:
    assert Esm.read(tmp_path, {"vocab_list": None}).config == esm.config  # no vocab.txt: the standard alphabet
    esm.write(tmp_path)
    assert Esm.read(tmp_path, {}).encode("MK")["ids"].tolist() == [20, 15]


def test_another_alphabet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config.json has 2 tokens, not 33; bio/esm reads ESM's alphabet alone"):
        Esm.read(tmp_path, {"vocab_list": ["<cls>", "<pad>"]})
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(["<cls>", "<pad>", "A"]))
    with pytest.raises(
        ValueError, match=r"vocab.txt has 'A' as token 2, not '<eos>'; bio/esm reads ESM's alphabet alone"
    ):
        Esm.read(tmp_path, {})


def test_what_is_no_protein_is_refused(esm: Esm) -> None:
    with pytest.raises(ValueError, match=r"'J' at position 3 is no letter of a protein sequence; the letters are LAGV"):
        esm.encode("MKJ")
    with pytest.raises(ValueError, match="is empty"):
        esm.encode("  ")
    with pytest.raises(ValueError, match="text; got int"):
        esm.encode(5)
    with pytest.raises(ValueError, match="has 4 residues; at most 3 are read"):
        Esm(Esm.Config(longest=3)).encode("MKVL")
