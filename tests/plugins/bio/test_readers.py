from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import pytest

from anyformer.data import open_data
from anyformer_bio import anyformer_readers
from anyformer_bio.readers import fasta

TEXT = ">one first protein\nMKVL\nAAcd\n\n>two\r\nMK V\r\n>one\nACDEFGHIKLMNPQRSTVWYBZXUO\n"
ROWS = [
    {"id": "one", "sequence": "MKVLAAcd"},
    {"id": "two", "sequence": "MKV"},
    {"id": "one", "sequence": "ACDEFGHIKLMNPQRSTVWYBZXUO"},
]


def written(folder: Path, text: str | bytes, name: str = "some.fasta") -> Path:
    content = text if isinstance(text, bytes) else text.encode()
    path = folder / name
    path.write_bytes(gzip.compress(content) if name.lower().endswith(".gz") else content)
    return path


@pytest.mark.parametrize("name", ["some.fasta", "some.fa", "some.faa", "some.fasta.gz", "SOME.FA.GZ"])
def test_rows_by_random_access(tmp_path: Path, name: str) -> None:
    rows = open_data(written(tmp_path, TEXT, name), readers=anyformer_readers())
    assert len(rows) == 3
    assert [rows[index] for index in (2, 0, 1)] == [ROWS[2], ROWS[0], ROWS[1]]
    assert rows[-1] == ROWS[2]
    assert list(rows[1:]) == ROWS[1:]
    assert list(pickle.loads(pickle.dumps(rows))) == ROWS  # as a worker process gets them
    with pytest.raises(IndexError):
        rows[3]


def test_the_end_of_the_file_and_a_byte_order_mark_are_no_letters(tmp_path: Path) -> None:
    assert list(fasta(written(tmp_path, b"\xef\xbb\xbf>a\nMK\n>\nV"))) == [
        {"id": "a", "sequence": "MK"},
        {"id": "", "sequence": "V"},
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (">a\nMK\n>b x\nMKV\nM-K*\n", "line 5: '-' in record 'b' is no letter of a sequence; the letters are ACDEF"),
        (">a\nMKJ\n", "line 2: 'J' in record 'a'"),
        (">a\nMK\té\n", "line 2: '\\t' in record 'a'"),
        ("", " is empty; a FASTA file has records"),
        ("\n  \n", " is empty; a FASTA file has records"),
        ("MKV\n>a\nMK\n", "line 1: a FASTA record begins with a line '>name'; got 'MKV'"),
        ("\n" + "M" * 50 + "\n", f"line 2: a FASTA record begins with a line '>name'; got '{'M' * 40}'..."),
        (">a\n>b\nMK\n", "line 2: the record 'a' before it has no sequence"),
        (">a\nMK\n>b\n\n", ": the last record, 'b', has no sequence"),
        (b">a\nMK\n>b\xff\nMK\n", "line 3: byte 0xff is not UTF-8; save the file as UTF-8"),
    ],
)
def test_what_is_no_fasta(tmp_path: Path, text: str | bytes, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=r"FASTA|line|record") as caught:
        fasta(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert said in message
    assert "\n" not in message


def test_columns_are_fixed(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT)
    with pytest.raises(ValueError, match="has the columns id and sequence; to rename one, write columns=field=column"):
        fasta(path, ["name", "protein"])
    rows = open_data(path, columns="protein=sequence", readers=anyformer_readers())
    assert rows[1]["protein"] == "MKV"


def test_real_files_equal_biopython(shared: Path) -> None:
    from Bio import SeqIO

    for name in ("format_samples/NC_000932.faa", "yeast_proteome/valid.fasta.gz"):
        path = shared / "data" / "protein" / name
        with gzip.open(path, "rt") if name.endswith(".gz") else path.open() as lines:
            true = [{"id": record.id, "sequence": str(record.seq)} for record in SeqIO.parse(lines, "fasta")]
        assert list(fasta(path)) == true
