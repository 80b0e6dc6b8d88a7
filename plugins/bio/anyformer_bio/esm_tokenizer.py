"""ESM's alphabet: 33 tokens for proteins, with places that are hidden written `_` or `<mask>`.

* The alphabet is fixed, so nothing is learned or saved with a model; a folder with another alphabet is refused.
* `encode` gives the residues alone, as `Protein` does; `single` puts the start and the end token around them, as every ESM
  model was trained to see.
* Lower case is read as upper case and white space is dropped. Any other sign is an error, where ESM's own tokenizer would
  silently read an unknown residue.

Lin et al. 2023, https://www.science.org/doi/10.1126/science.ade2574; the alphabet is that of Rives et al. 2021.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from anyformer.task import Array, Frozen, Tokenizer
from anyformer_bio.tokenizers import Alphabet

LETTERS = "LAGVSERTIDPKQNFYMHWCXBUZO"
"""Residues in the order of their ids, from `FIRST` on."""
FIRST = 4
TOKENS = ("<cls>", "<pad>", "<eos>", "<unk>", *LETTERS, ".", "-", "<null_1>", "<mask>")
"""All tokens in the order of their ids. The dot and the dash are gaps of alignments."""
MASK = "_"
"""How a hidden place is written; `<mask>` is read as well."""

MASKED = Alphabet("protein", "residues", LETTERS + ".-" + MASK)
"""What the tokenizer reads; an index plus `FIRST` is an id, but for the mask."""


class Esm(Tokenizer):
    """Proteins in ESM's alphabet: the 20 standard residues, X (unknown), B, U, Z, O, and the gaps of alignments."""

    class Config(Frozen):
        """What a user may set."""

        longest: int = Field(default=100_000, ge=1)
        """A protein with more residues is refused; it is never cut."""

    vocabulary_size = len(TOKENS)
    start_id = TOKENS.index("<cls>")
    end_id = TOKENS.index("<eos>")
    unknown_id = TOKENS.index("<unk>")
    mask_id = TOKENS.index("<mask>")
    special_ids = frozenset(index for index, token in enumerate(TOKENS) if token.startswith("<"))

    @classmethod
    def read(cls, folder: Path, config: Mapping[str, Any]) -> Esm:
        """The tokenizer of a Hugging Face folder: `vocab.txt`, else the `vocab_list` of its `config.json`, else ESM's.

        Raises `ValueError` for other tokens than ESM's.
        """
        path = folder / "vocab.txt"
        if path.is_file():
            _check_alphabet(path, [line.strip() for line in path.read_text(encoding="utf-8").splitlines()])
        elif config.get("vocab_list"):
            _check_alphabet(folder / "config.json", config["vocab_list"])
        return cls(cls.Config())

    def write(self, folder: Path) -> bool:
        """Write `vocab.txt` and `tokenizer_config.json`, as Hugging Face's `EsmTokenizer` reads them, into a folder."""
        (folder / "vocab.txt").write_text("\n".join(TOKENS), encoding="utf-8")
        names = {"cls": "<cls>", "pad": "<pad>", "eos": "<eos>", "unk": "<unk>", "mask": "<mask>"}
        config = {"tokenizer_class": "EsmTokenizer", **{f"{name}_token": token for name, token in names.items()}}
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        return True

    def encode(self, raw: Any) -> dict[str, Array]:
        """A protein as text to `{"ids": int64 [L]}`, one token a residue, without start and end.

        Raises `ValueError` for what is no text, for an empty one, an illegal letter, and more than `longest` residues.
        """
        indices = _indices(raw)
        if len(indices) > self.config.longest:
            raise ValueError(
                f"the protein sequence has {len(indices):,} residues; at most {self.config.longest:,} are read "
                "(the tokenizer's `longest`); cut it into parts"
            )
        return {"ids": np.where(indices == MASKED.letters.index(MASK), self.mask_id, indices + FIRST)}

    def decode(self, ids: Array, final: bool = True) -> str:
        """Ids [L] to the protein as text: a mask is `_`, an unknown token X; start, end and padding are left out."""
        ids = np.asarray(ids)
        ids = np.where(ids == self.unknown_id, TOKENS.index("X"), ids)
        indices = np.where(ids == self.mask_id, MASKED.letters.index(MASK), ids - FIRST)
        return MASKED.text(
            indices[(indices >= 0) & (indices < len(MASKED.letters)) & (ids != TOKENS.index("<null_1>"))]
        )

    def single(self, ids: Array) -> Array:
        """Ids [L] of one protein with the start token before and the end token behind them, int64 [L + 2]."""
        return np.concatenate([[self.start_id], ids, [self.end_id]])


def _indices(text: Any) -> Array:
    """Index of each letter in `MASKED`, int64 [L]."""
    return MASKED.ids(text.replace("<mask>", MASK) if isinstance(text, str) else text)


def _check_alphabet(path: Path, found: Sequence[str]) -> None:
    """Raise `ValueError` for other tokens than `TOKENS`, naming the first."""
    if tuple(found) == TOKENS:
        return
    place = next((i for i, (one, other) in enumerate(zip(found, TOKENS, strict=False)) if one != other), None)
    if place is None:
        what = f"{len(found)} tokens, not {len(TOKENS)}"
    else:
        what = f"{found[place]!r} as token {place}, not {TOKENS[place]!r}"
    raise ValueError(
        f"{path} has {what}; bio/esm reads ESM's alphabet alone, so choose another model or another tokenizer"
    )
