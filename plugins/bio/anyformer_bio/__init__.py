"""Proteins and genes for anyformer.

| task                    | from -> to                                            | built from                      |
|-------------------------|-------------------------------------------------------|---------------------------------|
| bio/secondary-structure | a protein -> helix, strand or coil for each residue   | encoder, heads.TokenClassifier  |
| bio/gene-translation    | a coding sequence, its genetic code -> a protein      | encoder, heads.TokenClassifier  |
| bio/fill-mask           | a protein with hidden residues -> those residues      | encoder, heads.LanguageModel    |
| bio/contact-map         | a protein -> pairs of residues that touch in its fold | encoder, attention maps         |
| bio/protein-embedding   | a protein -> a vector, and a value learned from it    | encoder, a regression           |
| bio/protein-regression  | a protein -> a number that was measured               | encoder, heads.Regression       |

| tokenizer   | reads                                            |
|-------------|--------------------------------------------------|
| bio/protein | a protein, one token a residue                   |
| bio/dna     | DNA or RNA, one token a base                     |
| bio/esm     | a protein in ESM's alphabet, hidden places as _  |

| preset      | what it is                                                         |
|-------------|--------------------------------------------------------------------|
| bio/esm2-*  | ESM-2 (Lin et al. 2023) of 8m, 35m, 150m, 650m, 3b and 15b weights |

Families: `bio/esm` (the checkpoints of ESM-1b, ESM-1v and ESM-2).

Readers: `.fasta`, `.fa`, `.faa`; `.pdb`, `.cif` (the chains of a structure).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from anyformer.hookspecs import hookimpl
from anyformer.specs import TaskSpec, TokenizerSpec

if TYPE_CHECKING:
    from anyformer.families import Family
    from anyformer.preset import Preset


@hookimpl
def anyformer_tasks() -> dict[str, TaskSpec]:
    """The tasks of the table above."""
    return {
        "secondary-structure": TaskSpec(
            "anyformer_bio.secondary_structure:SecondaryStructure",
            "a protein to helix, strand or coil for each residue",
        ),
        "gene-translation": TaskSpec(
            "anyformer_bio.gene_translation:GeneTranslation", "a coding sequence and its genetic code to a protein"
        ),
        "fill-mask": TaskSpec(
            "anyformer_bio.fill_mask:FillMask", "a protein with hidden residues to the residues that stand there"
        ),
        "contact-map": TaskSpec(
            "anyformer_bio.contact_map:ContactMap", "a protein to the pairs of its residues that touch in its fold"
        ),
        "protein-embedding": TaskSpec(
            "anyformer_bio.protein_embedding:ProteinEmbedding", "a protein to a vector, and to a value learned from it"
        ),
        "protein-regression": TaskSpec(
            "anyformer_bio.protein_regression:ProteinRegression",
            "a protein to a number that was measured: fitness, brightness, stability",
        ),
    }


@hookimpl
def anyformer_tokenizers() -> dict[str, TokenizerSpec]:
    """The tokenizers that pretraining can name."""
    return {
        "protein": TokenizerSpec("anyformer_bio.tokenizers:Protein", "a protein, one token a residue"),
        "dna": TokenizerSpec("anyformer_bio.tokenizers:Dna", "DNA or RNA, one token a base"),
        "esm": TokenizerSpec("anyformer_bio.esm_tokenizer:Esm", "a protein in ESM's alphabet, hidden places as _"),
    }


@hookimpl
def anyformer_families() -> Mapping[str, Family]:
    """ESM-1b, ESM-1v and ESM-2."""
    from anyformer_bio.families import FAMILIES

    return FAMILIES


@hookimpl
def anyformer_presets() -> dict[str, Callable[[], Preset]]:
    """Published models."""
    from anyformer_bio.presets import PRESETS

    return PRESETS


@hookimpl
def anyformer_readers() -> dict[str, str]:
    """FASTA under its three usual suffixes, and structures in two formats."""
    sequences = dict.fromkeys((".fasta", ".fa", ".faa"), "anyformer_bio.readers:fasta")
    return {**sequences, ".pdb": "anyformer_bio.structures:pdb", ".cif": "anyformer_bio.structures:mmcif"}
