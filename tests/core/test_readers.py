"""Readers: what each file format gives, by random access, and what is said of a file that cannot be read."""

from __future__ import annotations

import csv
import gzip
import json
import pickle
import re
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from anyformer.data import files, fingerprint, parquet
from anyformer.data.readers import (
    READERS,
    read_csv,
    read_json,
    read_jsonl,
    read_npz,
    read_parquet,
    read_tsv,
    read_txt,
)


def write(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


HOSTILE = [
    ["plain", "1"],
    ["a,b", "2"],
    ['he said "no"', "3"],
    ["two\nlines\r\n\nand an empty one", "4"],
    ["", ""],
    ["ümlaut 漢字 😀", "5"],
    ["x" * 200_000, "long"],
    ['quote " inside', "6"],
]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_equals_the_csv_module(tmp_path, suffix, end, monkeypatch):
    monkeypatch.setattr(files, "BLOCK", 16)  # records cross the borders of blocks
    path = tmp_path / f"x{suffix}"
    with (gzip.open if suffix.endswith("gz") else open)(path, "wt", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator=end).writerows([["text", "label"], *HOSTILE])
    rows = read_csv(path)
    assert [list(row.values()) for row in rows] == HOSTILE
    assert rows[-1] == {"text": 'quote " inside', "label": "6"}
    assert list(rows[2:5]) == [rows[2], rows[3], rows[4]]
    assert list(rows[::-2][1:]) == [rows[5], rows[3], rows[1]]
    with pytest.raises(IndexError):
        rows[len(HOSTILE)]


def test_csv_with_a_literal_quote_inside_an_unquoted_value(tmp_path):
    rows = read_csv(write(tmp_path / "x.csv", 'size,n\n5" pipe,1\n"7"" pipe",2\n'))
    assert [row["size"] for row in rows] == ['5" pipe', '7" pipe']


def test_empty_lines_of_a_table_are_no_records(tmp_path):
    path = write(tmp_path / "x.csv", "\ufeffa,b\n\n1,2\n\r\n3,4\n\n")
    assert list(read_csv(path)) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    with pytest.raises(ValueError, match=re.escape("x.csv, line 7: 1 values for 2 columns ('a', 'b')")):
        list(read_csv(write(path, "a,b\n\n1,2\n\r\n3,4\n\n5\n")))


def test_tsv_knows_no_quotes(tmp_path):
    rows = read_tsv(write(tmp_path / "x.tsv", 'a "b\t0\n"c\t1'), ["text", "label"])
    assert list(rows) == [{"text": 'a "b', "label": "0"}, {"text": '"c', "label": "1"}]
    one = read_tsv(write(tmp_path / "y.tsv", "text\na\n\nb\n"))
    assert [row["text"] for row in one] == ["a", "", "b"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_jsonl(tmp_path, suffix):
    objects = [{"text": "a\nb", "n": [1, {"x": None}]}, {"text": "ü"}]
    content = "\n\n".join(json.dumps(item, ensure_ascii=False) for item in objects)
    assert list(read_jsonl(write(tmp_path / f"x.jsonl{suffix}", content))) == objects


def test_json_is_a_list_or_has_one_in_data(tmp_path):
    objects = [{"a": 1}, {"a": 2}]
    assert read_json(write(tmp_path / "x.json", json.dumps(objects))) == objects
    assert read_json(write(tmp_path / "y.json.gz", json.dumps({"version": 1, "data": objects}))) == objects


def test_txt_keeps_empty_lines(tmp_path):
    rows = read_txt(write(tmp_path / "x.txt", "\ufeffone\r\n\n  three \nfour"))
    assert [row["text"] for row in rows] == ["one", "", "  three ", "four"]
    assert read_txt(tmp_path / "x.txt", ["line"])[3] == {"line": "four"}


def test_npz_rows_go_across_arrays(tmp_path):
    images, labels = np.arange(24, dtype=np.uint8).reshape(3, 2, 4), np.array([5, 6, 7])
    np.savez_compressed(tmp_path / "x.npz", images=images, labels=labels)
    rows = read_npz(tmp_path / "x.npz")
    assert len(rows) == 3
    assert rows[1]["labels"] == 6
    np.testing.assert_array_equal(rows[1]["images"], images[1])


def test_parquet(tmp_path):
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    import pyarrow.parquet

    pyarrow.parquet.write_table(arrow.table({"text": ["a", "b"], "n": [1, None]}), tmp_path / "x.parquet")
    assert list(read_parquet(tmp_path / "x.parquet")) == [{"text": "a", "n": 1}, {"text": "b", "n": None}]


def test_parquet_of_many_row_groups_is_read_a_group_at_a_time(tmp_path, monkeypatch):
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    import pyarrow.parquet

    rows = [{"n": number, "xs": [number] * (number % 3)} for number in range(100)]
    path = tmp_path / "x.parquet"
    pyarrow.parquet.write_table(arrow.Table.from_pylist(rows), path, row_group_size=8)
    found = read_parquet(path)
    assert not found._held  # the footer alone
    assert found[17] == rows[17]
    assert list(found._held) == [2]
    assert [found[int(n)] for n in np.random.default_rng(0).permutation(100)] == [
        rows[int(n)] for n in np.random.default_rng(0).permutation(100)
    ]
    monkeypatch.setattr(parquet, "MAX_HELD", 2 * found._held[2][0])
    found = read_parquet(path)
    assert list(found) == rows
    assert len(found._held) <= 3
    assert list(pickle.loads(pickle.dumps(found))) == rows
    assert found.where(17) == f"{path}, row 18"
    with pytest.raises(IndexError):
        found[100]
    assert len(pickle.dumps(found)) < 2000
    assert fingerprint(found) == fingerprint(read_parquet(path))


def test_parquet_that_is_broken(tmp_path):
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    import pyarrow.parquet

    with pytest.raises(ValueError, match="this is no Parquet file that can be read: "):
        read_parquet(write(tmp_path / "x.parquet", b"PAR1 and nothing more"))
    path = tmp_path / "y.parquet"
    pyarrow.parquet.write_table(arrow.table({"n": ["some text"] * 100}), path)
    path.write_bytes(path.read_bytes()[:4] + b"\xff" * 40 + path.read_bytes()[44:])
    with pytest.raises(ValueError, match=r"y\.parquet: this is no Parquet file that can be read: ") as error:
        list(read_parquet(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "txt"])
def test_a_file_is_never_in_memory_as_a_whole(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(files, "BLOCK", 2**18)
    line = {"jsonl": '{"text": "%s"}', "csv": '"%s, %d"', "tsv": "%s\t%d", "txt": "%s"}[suffix]
    path = tmp_path / f"x.{suffix}"
    with open(path, "w") as stream:
        if suffix in ("csv", "tsv"):
            stream.write({"csv": "text\n", "tsv": "text\tn\n"}[suffix])
        for number in range(20_000):
            stream.write(line.replace("%s", "many words " * 60).replace("%d", str(number)) + "\n")
    size = path.stat().st_size
    tracemalloc.start()
    try:
        rows = READERS[f".{suffix}"](path, None)
        for index in range(0, len(rows), 50):
            assert rows[index]["text"].startswith("many words")
        assert tracemalloc.get_traced_memory()[1] < size / 4
    finally:
        tracemalloc.stop()


def test_parquet_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ValueError, match="needs pyarrow: pip install pyarrow"):
        read_parquet(write(tmp_path / "x.parquet", b"PAR1"))


def npz(path: Path, **arrays: np.ndarray) -> bytes:
    np.savez_compressed(path, **arrays)
    return path.read_bytes()


BAD = [
    (read_csv, "x.csv", "", None, "x.csv is empty"),
    (read_jsonl, "x.jsonl", "\n \n\n".replace(" ", ""), None, "x.jsonl is empty"),
    (read_json, "x.json", " \n", None, "x.json is empty"),
    (read_txt, "x.txt.gz", "", None, "x.txt.gz is empty"),
    (read_csv, "x.csv", "a,b\n", None, "has one line, which is read as the header ('a', 'b'), and no rows"),
    (read_csv, "x.csv", "a,b,a\n1,2,3\n", None, "line 1: two columns are called 'a'; columns: 'a', 'b', 'a'"),
    (read_csv, "x.csv", "9,8,9\n1,2,3\n", None, "give a file without a header its names, columns=first,second"),
    (read_csv, "x.csv", "a,b\n1,2\n1,2,3\n", None, "x.csv, line 3: 3 values for 2 columns ('a', 'b')"),
    (read_csv, "x.csv", 'a,b\n"x\ny",2\n1\n', None, "x.csv, line 4: 1 values for 2 columns ('a', 'b')"),
    (
        read_csv,
        "x.csv",
        'a,b\n1,2\n"x,2\n1,2\n',
        None,
        "record that begins at line 3: unexpected end of data; is a quote",
    ),
    (read_csv, "x.csv", 'a,b\n"x"y,2\n', None, "the record that begins at line 2: ',' expected after '\"'"),
    (read_tsv, "x.tsv", "a\tb\n", ["text"], "x.tsv, line 1: 2 values for 1 columns ('text')"),
    (read_tsv, "x.tsv", b"a\tb\nc\t\xe4\n", None, "x.tsv, line 2: byte 0xe4 is not UTF-8; save the file as UTF-8"),
    (
        read_jsonl,
        "x.jsonl",
        '{"a": 1}\n\n{"a": }\n',
        None,
        "x.jsonl, line 3: this is no JSON: Expecting value at column 7",
    ),
    (read_jsonl, "x.jsonl", '{"a": 1}\n[1]\n', None, "x.jsonl, line 2: each line must be an object {...}; got [1]"),
    (read_jsonl, "x.jsonl", "[" * 100_000, None, "x.jsonl, line 1: this is no JSON: it is nested too deeply"),
    (
        read_jsonl,
        "x.jsonl",
        "{}",
        ["a"],
        "names its columns itself; to rename one, write columns=field=column; got 'a'",
    ),
    (
        read_json,
        "x.json",
        '{"a": 1}\n{"a": 2}\n',
        None,
        "line 2: this is no JSON: Extra data at column 1; if it has one",
    ),
    (read_json, "x.json", '{"rows": []}', None, "an object whose 'data' is one, is needed; got an object with 'rows'"),
    (read_json, "x.json", "[{}, 3]", None, "x.json, item 2: each must be an object {...}; got 3"),
    (read_json, "x.json", b'[{"a": "\xff"}]', None, "x.json: byte 8 is not UTF-8"),
    (read_txt, "x.txt", "a", ["b", "c"], "a line of text is one column; got 'b', 'c'"),
    (read_npz, "x.npz", b"PK no", None, "x.npz is no numpy archive"),
    (read_parquet, "x.parquet", b"PAR1", ["a"], "names its columns itself"),
]


@pytest.mark.parametrize(("read", "name", "content", "columns", "message"), BAD, ids=[case[-1][:40] for case in BAD])
def test_bad_files_are_refused_in_one_line(tmp_path, read, name, content, columns, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        list(read(write(tmp_path / name, content), columns))
    assert "\n" not in str(error.value)


def test_bad_arrays_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    cases = [
        ({"a": np.zeros(3), "b": np.zeros((2, 2))}, None, "'a' has 3 rows and 'b' has 2"),
        ({"a": np.zeros(3)}, ["b"], "has no array 'b'; arrays: 'a'"),
        ({"a": np.zeros(3), "b": np.float64(1)}, None, "'b' is a single value"),
        ({}, None, "holds no array"),
        ({"a": np.array([{}], dtype=object)}, None, "'a' cannot be read: it holds Python objects, which only pickle"),
    ]
    for arrays, columns, message in cases:
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=re.escape(message)):
            read_npz(path, columns)
