"""PDB and mmCIF files as rows `{"id", "sequence", "res_id", "ca", "cb"}`, one for each protein chain of the first model.

* Coordinates are in angstrom, none where an atom is missing; of alternative places the most occupied one is taken.
* A residue that the file does not place is not in the row. Separations are therefore of places in the sequence; `res_id`
  has the numbers of the file.
* Modified residues count as what they were made from (selenomethionine as M), as far as Biopython's table knows them. Water,
  ligands and nucleic acids are no part of a chain.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from anyformer.data.files import Content
from anyformer.data.views import Row, RowSequence

COLUMNS = ("id", "sequence", "res_id", "ca", "cb")


def pdb(path: Path, columns: Sequence[str] | None = None) -> Chains:
    """The protein chains of a PDB file, plain or `.gz`.

    Raises `ValueError` for a file that cannot be read or has no protein, and for `columns`, which are fixed.
    """
    from Bio.PDB.PDBParser import PDBParser

    return Chains(path, columns, PDBParser(QUIET=True))


def mmcif(path: Path, columns: Sequence[str] | None = None) -> Chains:
    """The protein chains of an mmCIF file, as `pdb`."""
    from Bio.PDB.MMCIFParser import MMCIFParser

    return Chains(path, columns, MMCIFParser(QUIET=True))


class Chains(RowSequence):
    """Chains of one file. A structure is small, so all are read at once."""

    def __init__(self, path: Path, columns: Sequence[str] | None, parser: Any) -> None:
        if columns is not None:
            raise ValueError(
                f"{path}: a structure has the columns {', '.join(COLUMNS)}; to rename one, write columns=field=column"
            )
        self.content = Content(path)
        text = self.content.whole().decode("utf-8", "replace")
        self.rows = list(_chains(path.name.partition(".")[0], _model(path, text, parser)))
        if not self.rows:
            raise ValueError(f"{path} has no protein chain; bio reads chains of amino acids alone")

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, index: int) -> Row:
        """A chain."""
        return self.rows[index]

    def feed(self, digest: Any) -> None:
        """The file."""
        self.content.feed(digest)


def _model(path: Path, text: str, parser: Any) -> Any:
    """The first model of the structure."""
    from Bio.PDB.PDBExceptions import PDBException

    try:
        return next(iter(parser.get_structure("", io.StringIO(text))))
    except KeyError as error:
        reason = f"it has no {error.args[0]}"
    except StopIteration:
        reason = "it has no atoms"
    except (ValueError, IndexError, PDBException) as error:
        reason = str(error)
    kind = "an mmCIF" if "MMCIF" in type(parser).__name__ else "a PDB"
    raise ValueError(f"{path} cannot be read as {kind} file: {reason}")


def _chains(name: str, model: Any) -> Iterator[Row]:
    from Bio.Data.PDBData import protein_letters_3to1_extended

    for chain in model:
        placed = []
        for residue in chain:
            letter = protein_letters_3to1_extended.get(residue.get_resname().strip())
            if letter is not None and "CA" in residue and residue["CA"].element == "C":
                placed.append((letter, residue))
        if placed:
            yield {
                "id": f"{name}_{chain.id}",
                "sequence": "".join(letter for letter, _ in placed),
                "res_id": [residue.id[1] for _, residue in placed],
                "ca": [_place(residue, "CA") for _, residue in placed],
                "cb": [_place(residue, "CB") for _, residue in placed],
            }


def _place(residue: Any, atom: str) -> list[float] | None:
    return [round(float(number), 3) for number in residue[atom].coord] if atom in residue else None
