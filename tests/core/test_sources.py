"""From what a user names as data to rows; hashes, splits and leaks."""

from __future__ import annotations

import gzip
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel

from anyformer.data import check_column, fingerprint, overlap, parse_columns, split
from anyformer.data.readers import read_txt
from anyformer.data.sources import open_data as open_with_plugins
from anyformer.media import Image

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def open_data(data, columns=None, **rest):
    return open_with_plugins(data, columns, **{"readers": {}, **rest})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("train.csv").write_text("sentence,mark\n" + "".join(f"text {n},{n}\n" for n in range(10)))
    Path("bare.tsv").write_text("a fine film\t1\na poor film\t0\n")
    Path("train.en").write_text("one\ntwo\nthree\n")
    Path("train.de.gz").write_bytes(gzip.compress(b"eins\nzwei\ndrei\n"))
    Path("books").mkdir()
    for name in ("b", "a", "c"):
        Path(f"books/{name}.txt").write_text(f"{name}1\n{name}2\n")
    return tmp_path


def test_a_path_and_a_slice_of_it(folder):
    assert open_data("train.csv")[3] == {"sentence": "text 3", "mark": "3"}
    assert [row["mark"] for row in open_data("train.csv[2:8:3]")] == ["2", "5"]
    assert [row["mark"] for row in open_data("train.csv[-2:]")] == ["8", "9"]
    Path("odd[1:2].txt").write_text("this file\n")
    assert open_data("odd[1:2].txt")[0] == {"text": "this file"}


def test_a_pattern_gives_its_files_in_order(folder):
    rows = open_data("books/*.txt")
    assert [row["text"] for row in rows] == ["a1", "a2", "b1", "b2", "c1", "c2"]
    assert rows[-1] == {"text": "c2"}
    assert [row["text"] for row in open_data("books/[ab].txt[1:3]")] == ["a2", "b1"]


def test_files_side_by_side(folder):
    expected = [{"text": "one", "translation": "eins"}, {"text": "two", "translation": "zwei"}]
    assert list(open_data("text=train.en,translation=train.de.gz"))[:2] == expected
    assert list(open_data({"text": Path("train.en"), "translation": "train.de.gz"}))[:2] == expected
    assert open_data("text=train.en[1:],translation=train.de.gz[1:3]")[0] == expected[1]


def test_columns(folder):
    assert open_data("bare.tsv", "text,label")[1] == {"text": "a poor film", "label": "0"}
    rows = open_data("train.csv", "text=sentence,label=mark")
    assert (rows[2]["text"], rows[2]["label"], rows[2]["mark"]) == ("text 2", "2", "2")
    np.savez("x.npz", train_images=np.arange(6).reshape(3, 2), train_labels=np.arange(3), test_labels=np.arange(5))
    assert open_data("x.npz", {"label": "train_labels", "image": "train_images"})[2]["label"] == 2


def test_rows_in_memory(folder):
    rows = [{"text": "a"}, {"text": "b"}]
    assert open_data(rows) is rows
    assert list(open_data(iter(rows), {"line": "text"})) == [{"text": "a", "line": "a"}, {"text": "b", "line": "b"}]
    assert open_data({"text": ["a", "b"], "n": np.arange(2)})[1] == {"text": "b", "n": 1}
    pandas = pytest.importorskip("pandas")
    assert open_data(pandas.DataFrame(rows))[1] == {"text": "b"}


def lines_backwards(path, columns):
    return [{"text": line[::-1]} for line in reversed(path.read_text().splitlines())]


def test_readers_of_plugins(folder):
    Path("x.rev.gz").write_text("ab\ncd\n")
    assert open_data("x.rev.gz", readers={".rev": lines_backwards})[0] == {"text": "dc"}
    assert open_data("x.rev.gz", readers={".gz": read_txt, ".v": read_txt, ".rev": lines_backwards})[0] == {
        "text": "dc"
    }
    assert open_data("train.en", readers={".en": "anyformer.data.readers:read_txt"})[0] == {"text": "one"}
    assert open_data("train.en", reader="txt")[0] == {"text": "one"}
    assert open_data("train.en", reader="backwards", readers={"backwards": lines_backwards})[0] == {"text": "eerht"}
    assert open_data("books", readers={"folder/": lambda path, columns: [{"name": path.name}]})[0] == {"name": "books"}
    assert open_data("train.csv", readers={".csv": lines_backwards})[0]["mark"] == "0"


def test_the_readers_of_installed_plugins_are_found(folder, monkeypatch):
    import anyformer.plugins

    monkeypatch.setattr(anyformer.plugins, "readers", lambda: {".rev": lines_backwards})
    Path("x.rev").write_text("ab\n")
    assert open_with_plugins("x.rev")[0] == {"text": "ba"}


BAD = [
    ("trian.csv", None, "no such file: 'trian.csv' (did you mean 'train.csv'?); in '.' there is: 'bare.tsv', 'books'"),
    ("boks/*.txt", None, "no such file: 'boks/*.txt'; there is no folder 'boks'"),
    ("books/*.md", None, "no such file: 'books/*.md'; in 'books' there is: 'a.txt', 'b.txt', 'c.txt'"),
    (
        "books",
        None,
        "'books' is a folder, which no installed plugin reads; name files in it: 'a.txt', 'b.txt', 'c.txt'",
    ),
    (
        "train.en",
        None,
        "'train.en': no reader for this suffix; suffixes: .csv, .json, .jsonl, .npz, .parquet, .tsv, .txt",
    ),
    ("train.csv[20:30]", None, "'train.csv[20:30]' has no rows: there are 10 in all"),
    ("train.csv[::0]", None, "the step of a slice cannot be 0"),
    ("train.csv", "text=sentense", "no column 'sentense' (did you mean 'sentence'?); columns: 'sentence', 'mark'"),
    ("bare.tsv", "text=text", "no column 'text'; columns: 'a fine film', '1'; the first line looks like data"),
    ("text=train.en,translation=books/a.txt", None, "'text' has 3 rows and 'translation' has 2; side by side"),
    ("text=train.en,translation=train.fr", None, "no such file: 'train.fr' (did you mean 'train.en'?)"),
    ("train.csv", "a,b=c", "columns='a,b=c' is neither names in order, a,b, nor new names"),
    ("text=train.en", "a,b", "columns='a', 'b' names the columns of one file without a header"),
    ({}, None, "a mapping of columns is empty"),
    ({"a": 3}, None, "the column 'a' must be a path or a sequence; got 3"),
    ([], None, "the data has no rows"),
    (3, None, "data must be a path, columns or rows; got 3"),
    (["a"], None, "a row in memory is a mapping from field to value, {'text': ...}; got 'a'"),
]


@pytest.mark.parametrize(("data", "columns", "message"), BAD, ids=[case[-1][:40] for case in BAD])
def test_bad_data_is_refused_in_one_line(folder, data, columns, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        open_data(data, columns)
    assert "\n" not in str(error.value)


def test_an_unknown_reader_lists_the_known(folder):
    with pytest.raises(
        ValueError, match=re.escape("no reader is called 'fasto' (did you mean '.fasta'?); readers: '.csv'")
    ):
        open_data("train.en", reader="fasto", readers={".fasta": lines_backwards})


def test_a_row_without_a_renamed_column_is_named():
    rows = open_data([{"a": 1}, {"b": 2}], {"x": "a"})
    with pytest.raises(ValueError, match="row 2 has no column 'a'; columns: 'b'"):
        rows[1]


def test_check_column_on_a_good_header_gives_no_hint():
    with pytest.raises(ValueError, match=r"no column 'label' \(did you mean 'labels'\?\); columns: 'labels', 'text'$"):
        check_column("label", [{"labels": 1, "text": ""}])


def test_parse_columns():
    assert parse_columns("text, label") == ["text", "label"]
    assert parse_columns("text = sentence,label=mark") == {"text": "sentence", "label": "mark"}


def test_fingerprint_tells_data_apart(folder):
    seen = [
        fingerprint(open_data(data, columns))
        for data, columns in [
            ("train.csv", None),
            ("train.csv[:9]", None),
            ("train.csv[1:]", None),
            ("train.csv", "text=sentence"),
            ("bare.tsv", "a,b"),
            ("bare.tsv", "b,a"),
            ("text=train.en", None),
            ("label=train.en", None),
            ("books/*.txt", None),
            ([{"a": "b"}], None),
            ([{"a": ["b"]}], None),
            ([{"a": np.zeros((2, 3))}], None),
            ([{"a": np.zeros((3, 2))}], None),
            ([{"a": np.zeros(6, np.float32)}], None),
            ([{"a": Image(b"1")}], None),
            ([{"a": Image(b"2")}], None),
            ([{"a": 1}], None),
            ([{"a": "1"}], None),
        ]
    ]
    assert len(set(seen)) == len(seen)
    assert fingerprint(open_data("train.csv")) == seen[0]
    Path("train.csv").write_text(Path("train.csv").read_text().replace("text 3", "text x"))
    assert fingerprint(open_data("train.csv")) != seen[0]


def test_fingerprint_of_models_equals_that_of_mappings():
    class Row(BaseModel):
        a: int

    assert fingerprint([Row(a=1)]) == fingerprint([{"a": 1}])  # type: ignore[list-item]


def test_split_is_seeded_disjoint_and_whole():
    rows = [{"n": n} for n in range(100)]
    train, valid = split(rows, 0.2, seed=1)
    assert sorted([row["n"] for row in train] + [row["n"] for row in valid]) == list(range(100))
    assert len(valid) == 20
    assert [row["n"] for row in valid] == sorted(row["n"] for row in valid)
    assert [row["n"] for row in split(rows, 0.2, seed=1)[1]] == [row["n"] for row in valid]
    assert [row["n"] for row in split(rows, 0.2, seed=2)[1]] != [row["n"] for row in valid]
    assert [row["n"] for row in valid[:3]] == [1, 3, 6]  # the same with every version of numpy
    assert [row["n"] for row in split(rows, 0.05, seed=None)[1]] == [95, 96, 97, 98, 99]
    assert [len(part) for part in split(rows[:2], 0.01, seed=0)] == [1, 1]
    assert list(pickle.loads(pickle.dumps(valid))) == list(valid)


def test_split_refuses_what_leaves_nothing():
    with pytest.raises(ValueError, match="the fraction to hold out must lie between 0 and 1; got 1"):
        split([{}, {}], 1, 0)
    with pytest.raises(ValueError, match="1 row cannot be split"):
        split([{}], 0.5, 0)


def test_overlap_counts_leaks():
    train = [{"text": "a", "label": 0}, {"text": "b", "label": 1}]
    valid = [{"text": "b", "label": 0}, {"text": "b", "label": 1}, {"text": "c", "label": 1}]
    assert overlap(train, valid) == 1
    assert overlap(train, valid, key=lambda row: row["text"]) == 2


@pytest.mark.skipif(not SHARED.is_dir(), reason="the data sets beside the repository are absent")
def test_real_files():
    counts = {
        "nlp/sst2/train.tsv": ("text,label", 6920),
        "nlp/banking77/train.csv": (None, 10_003),
        "nlp/squad2_en/train.json.gz": (None, 12),
        "vision/fashion_mnist5/valid.npz": ("image=images,label=labels", 500),
        "protein/flip_secondary_structure/valid.jsonl.gz": (None, 1080),
        "finance/ett/ETTh1.csv.gz": (None, 17_420),
        "nlp/tiny_shakespeare/valid.txt": (None, 2143),
    }
    for name, (columns, count) in counts.items():
        rows = open_data(SHARED / name, columns)
        assert len(rows) == count
        assert set(rows[count - 1]) == set(rows[0])
    pair = SHARED / "nlp/multi30k_en_de/train"
    assert len(open_data(f"text={pair}.en.gz,translation={pair}.de.gz")) == 29_000
