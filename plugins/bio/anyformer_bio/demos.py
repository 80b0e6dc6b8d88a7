"""Data for `anyformer demo` that needs no download."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyformer.task import Demo, Rng

DEMO_TABLES = (1, 2, 3, 5, 6, 9, 13, 14)
"""Genetic codes of the demo: standard, mitochondria of vertebrates, yeast, invertebrates, echinoderms, ascidians and
flatworms, and the nucleus of ciliates."""


def gene_translation() -> Demo:
    """Genes of random codons in eight genetic codes, translated by Biopython's tables."""
    rng = np.random.default_rng(0)
    rows = [gene(rng) for _ in range(1700)]
    return Demo(
        data="genes of random codons in eight genetic codes, translated by Biopython's NCBI tables",
        train=rows[:1500],
        valid=rows[1500:],
    )


def gene(rng: Rng) -> dict[str, Any]:
    """A gene of 15 to 45 random codons, only the last a stop."""
    from Bio.Data.CodonTable import unambiguous_dna_by_id

    number = int(rng.choice(DEMO_TABLES))
    table = unambiguous_dna_by_id[number]
    codons = [str(codon) for codon in rng.choice(sorted(table.forward_table), size=rng.integers(14, 45))]
    protein = "".join(table.forward_table[codon] for codon in codons)
    return {"dna": "".join(codons) + str(rng.choice(table.stop_codons)), "table": number, "protein": protein + "*"}
