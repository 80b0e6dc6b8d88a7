"""Files: bounded, found or refused, shared between processes, and refused when they change."""

from __future__ import annotations

import gzip
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from anyformer.data import files
from anyformer.data.readers import read_csv, read_jsonl, read_npz, read_txt


def write(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def test_what_unfolds_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_UNPACKED", 1000)
    monkeypatch.setattr("anyformer.data.readers.MAX_UNPACKED", 1000)
    with pytest.raises(ValueError, match=r"x\.txt\.gz unfolds to more than 1,000 bytes; unpack it"):
        read_txt(write(tmp_path / "x.txt.gz", "a" * 1001))
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(1001, np.uint8))
    with pytest.raises(ValueError, match=r"x\.npz unfolds to more than 1,000 bytes; save it uncompressed"):
        read_npz(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", a=np.zeros(1001, np.uint8))
    assert len(read_npz(tmp_path / "y.npz")) == 1001


def test_a_broken_archive_is_refused(tmp_path):
    path = write(tmp_path / "x.txt.gz", "hello\n" * 1000)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"x\.txt\.gz is no whole gzip file"):
        read_txt(path)
    path.write_bytes(b"plain text")
    with pytest.raises(ValueError, match=r"x\.txt\.gz is no whole gzip file"):
        read_txt(path)


def test_a_missing_file_lists_what_is_near(tmp_path):
    write(tmp_path / "train.csv", "a\n1\n")
    with pytest.raises(ValueError, match=r"no such file: .*tran\.csv' \(did you mean 'train\.csv'\?\); in .* there is"):
        read_csv(tmp_path / "tran.csv")
    with pytest.raises(ValueError, match=r"no such file: .*; there is no folder .*data'"):
        read_csv(tmp_path / "data" / "x.csv")
    with pytest.raises(ValueError, match=r"is a folder; name a file in it: 'train\.csv'"):
        read_csv(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path):
    path = write(tmp_path / "x.txt", "a")
    path.chmod(0)
    with pytest.raises(ValueError, match=r"cannot read .*: Permission denied"):
        read_txt(path)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_rows_survive_pickle_and_another_folder(tmp_path, suffix, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path(f"x.csv{suffix}"), "a,b\n" + "".join(f'"{n}\n",{n}\n' for n in range(1000)))
    rows = read_csv(Path(f"x.csv{suffix}"))
    before = rows[500]
    data = pickle.dumps(rows)
    assert len(data) < 20_000  # the index, not the file
    monkeypatch.chdir("/")
    assert pickle.loads(data)[500] == before


def _read_many(rows, start, queue):
    queue.put(all(rows[n]["text"] == f"line {n}" for _ in range(20) for n in range(start, 1000, 4)))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_forked_processes_read_at_once(tmp_path):
    rows = read_txt(write(tmp_path / "x.txt", "".join(f"line {n}\n" for n in range(1000))))
    rows[0]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_read_many, args=(rows, start, queue)) for start in range(4)]
    for worker in workers:
        worker.start()
    assert [queue.get(timeout=60) for _ in workers] == [True] * 4
    for worker in workers:
        worker.join()


def test_a_file_that_changes_is_refused(tmp_path):
    path = write(tmp_path / "x.txt", "a\nb\nc\n")
    rows, opened = read_txt(path), read_txt(path)
    assert opened[2] == {"text": "c"}
    path.write_text("a\n")
    with pytest.raises(ValueError, match="changed while it was in use"):
        opened[2]
    files._descriptor.cache_clear()
    with pytest.raises(ValueError, match="changed while it was in use"):
        rows[0]


def test_without_positioned_reads(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "pread")
    rows = read_txt(write(tmp_path / "x.txt", "a\nb\nc\n"))
    assert [row["text"] for row in rows] == ["a", "b", "c"]


def test_thousands_of_files_need_few_descriptors(tmp_path):
    many = [read_txt(write(tmp_path / f"{n}.txt", f"{n}\n")) for n in range(200)]
    assert [rows[0]["text"] for rows in many] == [str(n) for n in range(200)]
    assert files._descriptor.cache_info().currsize <= 64


def test_a_big_file_stays_on_disk(tmp_path):
    path = tmp_path / "x.jsonl"
    with path.open("w") as stream:
        stream.writelines(f'{{"n": {n}, "text": "{"x" * 90}"}}\n' for n in range(100_000))
    rows = read_jsonl(path)
    assert rows[99_999]["n"] == 99_999
    assert len(pickle.dumps(rows)) < 8.1 * 100_001  # eight bytes a record, of a file of eleven megabytes


def test_data_and_metrics_import_no_torch():
    code = (
        "import sys, anyformer.data, anyformer.metrics, anyformer.settings; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'sklearn', 'scipy', 'pandas', 'pyarrow')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
