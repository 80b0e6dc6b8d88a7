from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest

from anyformer_nlp.conll import conll

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "nlp" / "wnut17"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "a.conll"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_sentences_are_rows_at_random_access(tmp_path: Path) -> None:
    rows = conll(written(tmp_path, "\ufeff\nEU\tB-org\nsays\tO\n\n\n \t\nNew York\tB-loc\n.\tO"))
    assert len(rows) == 2
    assert rows[1] == {"text": ["New York", "."], "tags": ["B-loc", "O"]}
    assert rows[-2] == {"text": ["EU", "says"], "tags": ["B-org", "O"]}
    assert list(rows[1:]) == [rows[1]]


def test_a_byte_order_mark_is_no_word(tmp_path: Path) -> None:
    assert conll(written(tmp_path, "\ufeffEU\tO\n"))[0]["text"] == ["EU"]


def test_spaces_separate_too_and_the_last_column_is_the_tag(tmp_path: Path) -> None:
    path = written(tmp_path, "-DOCSTART- -X- -X- O\r\n\r\nEU  NNP I-NP I-ORG\r\nrejects VBZ I-VP O\r\n")
    rows = conll(path)
    assert [dict(row) for row in rows] == [
        {"text": ["-DOCSTART-"], "tags": ["O"]},
        {"text": ["EU", "rejects"], "tags": ["I-ORG", "O"]},
    ]
    assert conll(path, ["text", "tags", "chunk", "entity"])[1]["tags"] == ["NNP", "VBZ"]


def test_a_line_of_unicode_ends_and_spaces_is_one_word(tmp_path: Path) -> None:
    assert conll(written(tmp_path, "a\u2028b\u00a0c O\n"))[0] == {"text": ["a\u2028b\u00a0c"], "tags": ["O"]}


def test_a_packed_file_and_a_plain_one_are_the_same_rows(tmp_path: Path) -> None:
    plain = written(tmp_path, "a\tO\n\nb\tX\n")
    packed = tmp_path / "a.conll.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert list(conll(packed)) == list(conll(plain))


def test_its_fingerprint_knows_the_names_of_the_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "a\tO\n")
    digests = []
    for columns in (None, ["text", "tags"], ["tags", "text"]):
        digest = hashlib.sha256()
        conll(path, columns).feed(digest)
        digests.append(digest.hexdigest())
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; a CoNLL file has a line for each word: the word, a tab, its tag"),
        ("\n\n", "is empty"),
        ("a\tO\n\nb\n", "line 3: a word and its tag are needed, with a tab or spaces between; got 'b'"),
        ("a\tO\nb\tN\tO\n", "line 2 has 3 columns, the lines before it 2; each needs as many"),
        ("a\tO\n\tO\n", "line 2: column 1 is empty"),
        (b"a\tO\n\xe9\tO\n", "line 2: byte 0xe9 is not UTF-8; save the file as UTF-8"),
    ],
)
def test_what_is_no_conll_is_refused(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        conll(written(tmp_path, text))


def test_names_must_be_as_many_as_columns(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has 2 columns; 1 names were given: 'text'"):
        conll(written(tmp_path, "a\tO\n"), ["text"])


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not beside this repository")
def test_a_shared_task_is_read_whole() -> None:
    rows = conll(SHARED / "train.conll")
    assert len(rows) == 3394
    assert sum(len(row["text"]) for row in rows) == 62730
    assert dict(rows[0])["tags"].count("B-location") == 2
