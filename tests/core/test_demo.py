"""`anyformer demo` over the plugin of the tests: what is chosen, what is removed, what is printed, what a failure costs."""

from __future__ import annotations

import html
import json
import signal
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from anyformer import cli, demo, plugins
from anyformer.hookspecs import hookimpl
from anyformer.report.row import COLUMNS, Row
from anyformer.task import Demo

TASKS = ["letters/richest", "letters/reverse"]


@pytest.fixture(autouse=True)
def _installed(letters: ModuleType) -> None:
    """The plugin of the tests is there."""


def rows_of(captured: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    return {row["task"]: row for row in json.loads(captured.readouterr().out)["tasks"]}


def finished(folder: Path) -> None:
    """What an earlier demo left behind, without the training."""
    (folder / "letters" / "richest").mkdir(parents=True)
    (folder / "letters" / "richest" / "run.yaml").write_text("id: letters/richest")
    (folder / demo.MARK).write_text(json.dumps({"tasks": ["letters/richest"]}))


def test_both_tasks_learn_and_are_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    assert cli.main(["demo", "letters", "--out", str(out), "--json"]) == 0
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert [row["task"] for row in answer["tasks"]] == TASKS
    for row in answer["tasks"]:
        assert row["state"] == "done"
        assert row["data"] == "words of four letters"
        assert row["verdict"] == "no skill"  # two steps teach nothing, and it is told so
        assert row["baseline"]["name"] in ("majority", "first", "copy")
        assert (out / row["task"] / "model" / "anyformer.json").is_file()
    assert "[1/2] letters/richest" in captured.err
    assert "about 1 min 0 s on two cores: letters/richest, letters/reverse" in captured.err
    assert "letters/reverse: finished at step 2" in captured.err
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count('href="letters/richest/report.html"') == 2
    assert page.count("data:image/png;base64,") == 2
    assert page.lower().count("no skill") == 4  # in the table and above the picture


def test_the_table_tells_a_model_without_skill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "richest", "--out", str(tmp_path / "demo")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("  ")[0] == "task"
    assert [name for name in COLUMNS if name not in lines[0]] == []
    assert "words of four letters" in lines[1]
    assert "no skill" in lines[1]
    assert lines[2].startswith("letters/richest: no skill: ")
    assert lines[-1].endswith(f"pictures: {tmp_path / 'demo' / 'report.html'}")


def test_a_finished_demo_is_run_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished(tmp_path)
    (tmp_path / "letters" / "richest" / "old").write_text("")
    (tmp_path / "mine.txt").write_text("")
    assert cli.main(["demo", "richest", "--out", str(tmp_path), "--json"]) == 0
    assert not (tmp_path / "letters" / "richest" / "old").exists()
    assert (tmp_path / "mine.txt").exists()
    assert rows_of(capsys)["letters/richest"]["state"] == "done"


def test_what_no_demo_made_is_refused_and_left(tmp_path: Path) -> None:
    file, foreign, other = tmp_path / "file", tmp_path / "foreign", tmp_path / "other"
    file.write_text("")
    (foreign / "letters" / "richest").mkdir(parents=True)
    finished(other)
    (other / "letters" / "reverse").mkdir()
    (other / "letters" / "reverse" / "run.yaml").write_text("somebody's own")
    for folder, said in (
        (file, f"{str(file)!r} is a file; {demo.ANOTHER}"),
        (foreign, f"{str(foreign)!r} is not empty and no demo made it; {demo.ANOTHER}"),
        (other, f"{str(other / 'letters' / 'reverse')!r} is no run of an earlier demo; {demo.ANOTHER}"),
    ):
        with pytest.raises(ValueError, match="give the demo a folder of its own") as caught:
            demo.prepare(folder, TASKS)
        assert str(caught.value) == said
    assert (other / "letters" / "richest" / "run.yaml").exists()  # refused before anything is removed


def test_a_link_is_no_run_and_a_broken_mark_no_mark(tmp_path: Path) -> None:
    finished(tmp_path / "elsewhere")
    folder = tmp_path / "demo"
    (folder / "letters").mkdir(parents=True)
    (folder / demo.MARK).write_text(json.dumps({"tasks": TASKS}))
    (folder / "letters" / "richest").symlink_to(tmp_path / "elsewhere" / "letters" / "richest")
    with pytest.raises(ValueError, match="is no run of an earlier demo"):
        demo.prepare(folder, TASKS)
    (folder / demo.MARK).write_text("[]")
    with pytest.raises(ValueError, match=r"no demo wrote '.*demo\.json'; give the demo a folder of its own with --out"):
        demo.prepare(folder, TASKS)


def test_a_demo_that_fails_is_a_row_and_the_others_go_on(
    tmp_path: Path, letters: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"text": "", "label": "a"}]
    monkeypatch.setattr(letters, "broken", lambda: Demo("nothing\nmuch", rows, rows), raising=False)
    monkeypatch.setattr(letters.Richest, "demo", "anyformer_letters:broken")
    assert cli.main(["demo", "letters", "--out", str(tmp_path), "--json"]) == 1
    rows_by_task = rows_of(capsys)
    assert rows_by_task["letters/reverse"]["state"] == "done"
    failed = rows_by_task["letters/richest"]
    assert failed["state"] == "failed"
    assert "'text'" in failed["reason"]
    assert "\n" not in failed["reason"]
    assert html.escape(failed["reason"]) in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("helpful", [True, False])
def test_missing_data_says_what_to_install(
    helpful: bool, tmp_path: Path, letters: ModuleType, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def lacking() -> Demo:
        try:
            import no_such_module  # type: ignore[import-not-found]
        except ModuleNotFoundError:
            if helpful:
                raise ValueError("this demo needs words: pip install words") from None
            raise
        return Demo("words", no_such_module.rows, [])

    monkeypatch.setattr(letters, "lacking", lacking, raising=False)
    monkeypatch.setattr(letters.Richest, "demo", "anyformer_letters:lacking")
    assert cli.main(["demo", "letters", "--out", str(tmp_path)]) == 0  # the other one was shown
    said = "this demo needs words: pip install words"
    if not helpful:
        said = "'no_such_module' is not installed; to install it: pip install 'anyformer-letters[demo]'"
    assert f"letters/richest: missing: {said}" in capsys.readouterr().out
    assert cli.main(["demo", "letters/richest", "--out", str(tmp_path)]) == 1  # and now nothing was


def test_a_demo_whose_own_module_is_not_there_has_failed(
    tmp_path: Path, letters: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters.Richest, "demo", "anyformer_letters.gone:demo")
    row = demo.show("letters/richest", tmp_path, lambda data: None)
    assert row.state == "failed"
    assert "'anyformer_letters.gone:demo' does not resolve" in row.reason


class Interrupts:
    """Ctrl-C after the first line of the log."""

    @hookimpl
    def anyformer_step_ended(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_leaves_cleanly(
    tmp_path: Path, letters: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = letters.words(16)
    monkeypatch.setattr(letters, "long", lambda: Demo("words", rows, rows[:8], {"training.steps": 50}), raising=False)
    monkeypatch.setattr(letters.Richest, "demo", "anyformer_letters:long")
    listener = Interrupts()
    plugins.register(listener)
    try:
        assert cli.main(["demo", "letters", "--out", str(tmp_path), "--json"]) == 130
    finally:
        plugins.unregister(listener)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1] == f"stopped; 0 of 2 demos are finished, in {tmp_path}"
    demo.prepare(tmp_path, TASKS)  # what it left is removed by the next
    assert not (tmp_path / "letters" / "richest").exists()


def test_names_are_plugins_tasks_or_bare_tasks() -> None:
    assert demo.choose(["letters"]) == TASKS
    assert demo.choose(["reverse", "letters/richest", "reverse"]) == TASKS  # each once, in the order of the list
    assert set(TASKS) <= set(demo.choose([]))


def test_wrong_names_say_what_there_is(letters: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"no plugin and no task \(did you mean 'letters'\?\); plugins: .*; tasks: "):
        demo.choose(["leters"])
    with pytest.raises(ValueError, match=r"unknown task 'letters/revers'.*letters/reverse"):
        demo.choose(["letters/revers"])
    monkeypatch.setattr(letters.Reverse, "demo", None)
    with pytest.raises(ValueError, match=r"'reverse' has no demo; tasks with one: .*letters/richest"):
        demo.choose(["letters", "reverse"])
    assert demo.choose(["letters"]) == ["letters/richest"]
    monkeypatch.setattr(plugins, "tasks", dict)
    with pytest.raises(ValueError, match="no installed task has a demo; to install a plugin: pip install"):
        demo.choose([])


def test_a_plugin_that_is_not_in_use_says_how_to_mend_it(monkeypatch: pytest.MonkeyPatch) -> None:
    status = plugins.PluginStatus(
        "weather", "anyformer-weather", "1", "disabled", "switched off", "switch it on", "", 0
    )
    monkeypatch.setattr(plugins, "plugins", lambda: [status])
    with pytest.raises(ValueError, match="the plugin 'weather' is disabled: switched off; to mend it: switch it on"):
        demo.choose(["weather"])


def test_json_has_no_number_that_is_none() -> None:
    row = Row("a/b", "done", model=float("nan"), baseline={"name": "mean", "value": float("inf")})
    assert json.loads(json.dumps(row.as_dict(), allow_nan=False))["baseline"] == {"name": "mean", "value": None}


def test_the_page_of_a_demo_escapes(tmp_path: Path) -> None:
    from anyformer.report import write_demo

    hostile = "<script>alert(1)</script>"
    failed = Row(hostile, "failed", hostile, reason=hostile)
    done = Row("x/a b", "done", hostile, hostile, 0.5, baseline={"name": hostile, "value": 1.0}, verdict="skill")
    elements: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda name, attributes: elements.append(name)  # type: ignore[method-assign, assignment]
    parser.feed(write_demo(tmp_path, [failed, done]).read_text(encoding="utf-8"))
    assert "script" not in elements
    assert 'href="x/a%20b/report.html"' in (tmp_path / "report.html").read_text(encoding="utf-8")
