from __future__ import annotations

import numpy as np
import pytest

from anyformer_bio.tokenizers import DNA, PROTEIN, TABLES, Dna, Gene, Protein, known_table

PROTEINS, BASES = "ACDEFGHIKLMNPQRSTVWYBZXUO", "ACGTRYSWKMBDHVN"


@pytest.mark.parametrize(("kind", "letters"), [(Protein, PROTEINS), (Dna, BASES)])
def test_ids_are_the_documented_order_and_come_back(kind: type[Protein | Dna], letters: str) -> None:
    tokenizer = kind(kind.Config())
    ids = tokenizer.encode(letters)["ids"]
    assert ids.dtype == np.int64
    assert ids.tolist() == list(range(len(letters)))
    assert tokenizer.encode(letters.lower())["ids"].tolist() == ids.tolist()
    assert tokenizer.decode(ids) == letters
    specials = [tokenizer.mask_id, tokenizer.start_id, tokenizer.end_id]
    assert specials == [len(letters), len(letters) + 1, len(letters) + 2]
    assert tokenizer.special_ids == set(specials)
    assert tokenizer.vocabulary_size == len(letters) + 3


def test_what_stands_for_no_letter() -> None:
    protein, dna = Protein(Protein.Config()), Dna(Dna.Config())
    assert protein.decode(np.array([protein.start_id, 0, protein.mask_id, 1, protein.end_id])) == "AXC"
    assert dna.decode(np.array([0, dna.mask_id])) == "AN"


def test_rna_and_pasted_lines() -> None:
    assert DNA.clean("acg u\nUAG\t\r\n") == "ACGTTAG"
    assert PROTEIN.clean(" MK\nvl ") == "MKVL"


@pytest.mark.parametrize("letter", ["-", "*", ".", "J", "1", "é", "Ａ", "\x00", "😀"])  # noqa: RUF001
def test_an_illegal_letter_is_named_with_its_place(letter: str) -> None:
    with pytest.raises(ValueError, match="is no letter of a protein sequence") as caught:
        PROTEIN.ids(f"MK V{letter}L")
    assert str(caught.value) == (
        f"{letter!r} at position 4 is no letter of a protein sequence; the letters are {PROTEINS}"
    )


def test_a_protein_is_no_dna() -> None:
    with pytest.raises(ValueError, match="'E' at position 3 is no letter of a DNA sequence; the letters are ACGT"):
        DNA.ids("ACE")


def test_what_is_no_sequence() -> None:
    with pytest.raises(ValueError, match="the protein sequence is empty; give at least one"):
        PROTEIN.ids(" \n")
    with pytest.raises(ValueError, match="a DNA sequence is text; got int"):
        DNA.ids(7)


def test_a_long_sequence_is_refused_and_not_cut() -> None:
    tokenizer = Protein(Protein.Config(longest=5))
    assert len(tokenizer.encode("MKVLA")["ids"]) == 5
    with pytest.raises(ValueError, match="has 6 residues; at most 5 are read"):
        tokenizer.encode("MKVLAA")
    assert len(Protein(Protein.Config()).encode("A" * 100_000)["ids"]) == 100_000
    with pytest.raises(ValueError, match=r"has 100,001 residues; at most 100,000 are read"):
        Protein(Protein.Config()).encode("A" * 100_001)


def test_a_gene_starts_with_its_code() -> None:
    gene = Gene(Gene.Config())
    first = gene.encode({"dna": "ACGT", "table": 1})["ids"]
    second = gene.encode({"dna": "ACGT", "table": 2})["ids"]
    assert first[1:].tolist() == second[1:].tolist() == [0, 1, 2, 3]
    assert second[0] == first[0] + 1
    assert {int(first[0]), int(second[0])} <= gene.special_ids
    assert gene.decode(second) == {"dna": "ACGT", "table": 2}
    last = gene.encode({"dna": "A", "table": TABLES[-1]})["ids"]
    assert last[0] == gene.vocabulary_size - 1


def test_the_codes_are_those_of_biopython() -> None:
    from Bio.Data.CodonTable import unambiguous_dna_by_id

    assert tuple(sorted(unambiguous_dna_by_id)) == TABLES
    with pytest.raises(ValueError, match=r"there is no genetic code 7; NCBI lists 1, 2, 3, 4, 5, 6, 9, .* 33 \(1 is"):
        known_table(7)
