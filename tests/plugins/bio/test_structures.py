from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anyformer_bio.contact_map import ContactMap
from anyformer_bio.structures import mmcif, pdb

ATOM = (
    "{kind:<6}{number:>5}  {atom:<3} {residue:>3} {chain}{place:>4}    {x:8.3f}{y:8.3f}{z:8.3f}"
    "  1.00  0.00          {element:>2}\n"
)
RESIDUES = ["MET", "LYS", "GLY", "ALA", "MSE", "SER", "THR", "VAL"]


def text(chain: str = "A", residues: list[str] = RESIDUES) -> str:
    lines = []
    for place, residue in enumerate(residues, start=5):
        kind = "HETATM" if residue in ("MSE", "HOH") else "ATOM"
        for atom, x in (("CA", 3.8 * place), ("CB", 3.8 * place + 1)):
            if (atom, residue) != ("CB", "GLY"):
                lines.append(ATOM.format(kind=kind, number=len(lines) + 1, atom=atom, residue=residue, chain=chain,
                                         place=place, x=x, y=0.5, z=-1.25, element="C"))  # fmt: skip
    return "".join(lines) + "END\n"


def test_a_chain_of_a_pdb_file(tmp_path: Path, fitted: Callable[..., Any]) -> None:
    file = tmp_path / "made.pdb"
    file.write_text(text().replace("END\n", "") + text("W", ["HOH"]))
    (row,) = pdb(file)
    assert (row["id"], row["sequence"], row["res_id"]) == ("made_A", "MKGAMSTV", list(range(5, 13)))
    assert row["ca"][0] == [19.0, 0.5, -1.25]
    assert row["cb"][2] is None
    assert row["cb"][0] == [20.0, 0.5, -1.25]
    task = fitted(ContactMap)
    (sample,) = task.learn(task.records(pdb(file))[0], None)
    assert sample.targets["contacts"].tolist() == [0, 0, 0]


def test_pdb_and_mmcif_agree(shared: Path) -> None:
    folder = shared / "data" / "protein" / "pdb_files"
    one, other = pdb(folder / "1a8o.pdb"), mmcif(folder / "1a8o.cif")
    assert list(one) == list(other)
    assert one[0]["sequence"].startswith("MDIRQGPKEPFRDYVDRFYKTLRAEQASQEVKNWMTETLLVQNANPDCKTILKALGPGATLEEMMTACQG")
    (crambin,) = pdb(folder / "1crn.pdb")
    assert crambin["sequence"] == "TTCCPSIVARSNFNVCRLPGTPEAICATYTGCIIIPGATCPGDYAN"


@pytest.mark.parametrize("reader", [pdb, mmcif])
def test_what_is_no_structure_is_refused(reader: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "bad.pdb"
    for given in ("", "hello\n", "data_x\n"):
        file.write_text(given)
        with pytest.raises(ValueError, match=r"bad.pdb (is empty|cannot be read as (a PDB|an mmCIF) file: \w+)"):
            reader(file)
    with pytest.raises(ValueError, match="a structure has the columns id, sequence, res_id, ca, cb"):
        reader(file, ["a"])


def test_water_is_no_protein(tmp_path: Path) -> None:
    file = tmp_path / "water.pdb"
    file.write_text(text(residues=["HOH"]))
    with pytest.raises(ValueError, match="has no protein chain; bio reads chains of amino acids alone"):
        pdb(file)
