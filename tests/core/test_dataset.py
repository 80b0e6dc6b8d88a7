"""The two parts of a run's data, and finding them again when a run is resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from anyformer.data.dataset import IN_MEMORY, Dataset

ROWS = [{"text": f"row {number}", "label": str(number % 2)} for number in range(20)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of twenty rows."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def opened(data: Any, valid: Any = None, columns: Any = None, temporal: bool = False, seed: int = 0) -> Dataset:
    return Dataset.open(data, valid, columns, seed, temporal)


def again(found: Dataset, data: Any = None, valid: Any = None, temporal: bool = False) -> Dataset:
    """Opened as a resume does, from what run.yaml keeps."""
    asked = yaml.safe_load(yaml.safe_dump(found.asked, sort_keys=False))
    return Dataset.reopen(asked, data, valid, 0, temporal)


def texts(rows: Any) -> list[str]:
    return [row["text"] for row in rows]


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the tests look at the message
        call()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_tenth_is_held_out() -> None:
    found = opened(ROWS)
    assert (len(found.train), len(found.valid), found.asked["valid"]) == (18, 2, 0.1)
    assert sorted(texts(found.train) + texts(found.valid)) == sorted(texts(ROWS))
    assert found.valid_name == "10% of in memory, held out"
    assert texts(opened(ROWS, seed=1).valid) != texts(found.valid)


@pytest.mark.parametrize("share", [0.25, "0.25"])
def test_another_share(share: Any) -> None:
    found = opened(ROWS, share)
    assert (len(found.train), len(found.valid), found.asked["valid"]) == (15, 5, 0.25)


def test_of_a_series_the_last_rows_are_held_out() -> None:
    found = opened(ROWS, 0.2, temporal=True)
    assert texts(found.train) + texts(found.valid) == texts(ROWS)


def test_none_held_out() -> None:
    found = opened(ROWS, "none")
    assert (len(found.train), len(found.valid)) == (20, 0)
    assert (found.asked["valid"], found.asked["valid_fingerprint"], found.valid_name) == ("none", None, "none")


def test_held_out_data_of_its_own(file: Path) -> None:
    found = opened(str(file), ROWS[:3])
    assert (len(found.train), len(found.valid), found.asked["valid"]) == (20, 3, IN_MEMORY)
    assert found.asked["in_both"] == 3


@pytest.mark.parametrize("share", [0.0, 1.0, 1.5, "-0.5", "nan"])
def test_a_share_that_is_none(share: Any) -> None:
    assert "the fraction to hold out must lie between 0 and 1; got" in refused(lambda: opened(ROWS, share))


@pytest.mark.parametrize(
    ("data", "valid"),
    [
        ("{file}", None),
        ("{file}", 0.3),
        ("{file}", "none"),
        ("{file}[:15]", "{file}[15:]"),
        ("{folder}/*.jsonl", None),
        ("text={folder}/a.txt,label={folder}/b.txt", None),
        ({"text": "{folder}/a.txt", "label": "{folder}/b.txt"}, None),
        (Path("{file}"), Path("{file}")),
    ],
)
def test_found_again_from_another_folder(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Any, valid: Any
) -> None:
    """Relative paths are kept as absolute ones; slices, patterns and columns side by side stay what they are."""
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("".join(f"{name}{number}\n" for number in range(20)))

    def here(given: Any) -> Any:
        if isinstance(given, dict):
            return {field: here(value) for field, value in given.items()}
        if isinstance(given, str | Path):
            return type(given)(str(given).format(file=file.name, folder="."))
        return given

    monkeypatch.chdir(tmp_path)
    found = opened(here(data), here(valid))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    back = again(found)
    assert back.asked == found.asked
    assert texts(back.train) == texts(found.train)
    assert texts(back.valid) == texts(found.valid)


def test_an_equals_sign_in_a_path_is_no_column(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lr=0.1").mkdir()
    file.rename(tmp_path / "lr=0.1" / "rows.jsonl")
    monkeypatch.chdir(tmp_path)
    found = opened("./lr=0.1/rows.jsonl[:9]")
    assert found.asked["data"] == str(tmp_path / "lr=0.1/rows.jsonl[:9]")
    assert texts(again(found).train) == texts(found.train)


def test_columns_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("".join(f"a{number},b{number}\n" for number in range(10)))
    for columns in ("text,label", ["text", "label"]):
        found = opened(path, columns=columns)
        assert texts(again(found).train) == texts(found.train)
    path.write_text("first,second\n" + path.read_text())
    found = opened(path, columns={"text": "second"})
    assert found.train[0]["text"].startswith("b")
    assert texts(again(found).valid) == texts(found.valid)


def test_rows_in_memory_must_be_given_again() -> None:
    found = opened(ROWS, ROWS[:4])
    assert "the run's data was in memory; give the same rows again: resume(folder, data=rows)" in refused(
        lambda: again(found, valid=ROWS[:4])
    )
    assert "the run's valid was in memory" in refused(lambda: again(found, data=ROWS))
    assert texts(again(found, ROWS, ROWS[:4]).train) == texts(ROWS)


def test_changed_data_is_refused(file: Path) -> None:
    found = opened(str(file), ROWS[:4])
    file.write_text(file.read_text().replace("row 3", "row x"))
    said = refused(lambda: again(found, valid=ROWS[:4]))
    assert said == f"the run's data ({file}) has changed since it began; put it back, or start a new run"
    fresh = opened(str(file), ROWS[:4])
    assert "the run's valid (in memory) has changed" in refused(lambda: again(fresh, valid=ROWS[1:5]))


def test_a_copy_of_the_data_stands_for_it(file: Path, tmp_path: Path) -> None:
    """Data that has moved is given again by its new place; it is known by what it holds."""
    found = opened(str(file))
    moved = tmp_path / "moved.jsonl"
    file.rename(moved)
    assert "no such file" in refused(lambda: again(found))
    assert texts(again(found, data=str(moved)).train) == texts(found.train)
