"""A run's page: parsed as a browser would, with hostile text in every place, and with losses that are no numbers."""

from __future__ import annotations

import builtins
import math
import platform
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml

from anyformer import api
from anyformer.infer.evaluate import Evaluation
from anyformer.plan import devices
from anyformer.plugins import discovery
from anyformer.report import Shown, write_run
from anyformer.report.chart import Line, Scale, Score, line_chart, score_chart, thin
from anyformer.report.markup import POLICY, VOID, escape, tag, write_page
from anyformer.report.run import environment
from anyformer.report.scores import best_baseline
from anyformer.report.words import duration, number
from anyformer.task import Metric, Record, Task

HOSTILE = "\"'><script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)>&amp; \x00\x1b \ud800"


class Page(HTMLParser):
    """What a browser would find: elements with their attributes, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == name]


class Drawn(Task[Any, Any, Any]):
    """A task of one metric, whose picture is what the test gives."""

    picture: Any = None

    def draw(self, input: Any, output: Any, target: Any = None) -> Any:
        assert (output, target) == (f"answer to {input}", f"truth of {input}")
        return self.picture() if callable(self.picture) else self.picture

    def metrics(self) -> list[Metric]:
        return [Error()]

    def records(self, raw: Any) -> list[Record[Any, Any]]:
        return [Record(row, f"truth of {row}") for row in raw]


class Error(Metric):
    names = ("error", "size")
    higher_is_better = False


class Answers:
    """A pipeline that answers without a model."""

    def __init__(self, picture: Any) -> None:
        self.task = Drawn(None, {})
        self.task.picture = picture

    def __call__(self, input: str) -> str:
        return f"answer to {input}"


LINES: list[dict[str, Any]] = [
    {"step": step, "train/loss": loss, "lr": 0.1, "grad_norm": 1.0 / step, "tokens": step * 70, "records": step * 4,
     "skipped": 1, "seconds": step * 0.5}
    for step, loss in [(10, 3.0), (20, None), (30, 2.0), (40, math.nan), (50, 1.5), (60, math.inf), (70, 1.0)]
]  # fmt: skip
SCORES = Evaluation(
    "toy/task", "runs/x", "in memory", 40,
    scores={
        "error": {"value": 0.5, "low": 0.4, "high": 0.6},
        "size": {"value": math.nan, "low": math.nan, "high": math.nan},
    },
    baselines={"mean": {"error": 0.9, "size": 1.0}, "last": {"error": 0.7, "size": math.nan}},
    verdict="skill", reason="better than its best baseline: error differs from 'last' by -0.3 to -0.1",
)  # fmt: skip


def page_of(
    folder: Path, lines: list[dict[str, Any]] = LINES, picture: Any = "none", name: str = "toy/task",
    evaluation: Evaluation | Mapping[str, float] | None = SCORES, more: Mapping[str, Any] | None = None,
) -> Page:  # fmt: skip
    """The page of a run made up of what is given; without a picture, of a pretraining run."""
    asked = {"data": name, "valid": name, "rows": 400, "valid_rows": 40, "in_both": 3}
    settings = {
        "id": name, "data": asked, "start": [name], "parameters": 12345, "tokens_per_record": 7.5, "settings": {"a": name}
    }  # fmt: skip
    settings |= dict(more or {})
    run = SimpleNamespace(folder=folder, settings=settings, log=SimpleNamespace(lines=lambda: lines))
    data = SimpleNamespace(valid=[f"row {place}" for place in range(40)], valid_name=name, asked=asked)
    pipeline: Any = None if picture is None else Answers(picture)
    path = write_run(run, [Shown(name, pipeline, data, evaluation)])  # type: ignore[arg-type]
    assert path == folder / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def test_records_that_were_left_out_are_told(tmp_path: Path) -> None:
    said = "records of the training part that cannot be used"
    assert said not in page_of(tmp_path, picture=None).text
    lines = [{**line, "bad_records": 3} for line in LINES]
    assert f"left out3 {said}" in page_of(tmp_path, lines, picture=None).text


def test_several_processes_are_told_and_have_their_peak_together(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "processes of the run" not in dict(environment({}))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda *given: "NVIDIA L4")
    alone = devices.peak_of_run({"precision": "bf16"})
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert devices.peak_of_run({"precision": "bf16"}) == 4 * (alone or 0.0) > 0
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert dict(environment({}))["processes of the run"] == "4"


def test_the_page_of_a_real_run(letters: ModuleType, tmp_path: Path) -> None:
    rows = letters.words(20)
    settings = {"training.steps": 6, "training.evaluate_every": 2}
    valid = letters.words(9, seed=1)
    run = api.finetune("letters/richest", data=rows, valid=valid, out=tmp_path / "run", settings=settings)
    page = Page((tmp_path / "run" / "report.html").read_text(encoding="utf-8"))
    score = f"{run.scores['scores']['accuracy']['value']:.4f}"
    assert [said for said in ("letters/richest", "accuracy", "majority", "first", score) if said not in page.text] == []
    assert run.scores["reason"] in page.text
    assert "accuracy, held out" in page.text
    assert [f"at step {step}" in page.text for step in (2, 4, 6)] == [True] * 3  # the last one is of the end
    assert yaml.safe_dump(run.settings["settings"]["training"]["optimizer"]).splitlines()[0] in page.text
    pictures = page.all("img")
    assert len(pictures) == 6
    assert all(str(picture["src"]).startswith("data:image/png;base64,iVBOR") for picture in pictures)
    assert {"Held-out record 1 of 9", "Held-out record 9 of 9"} <= {picture["alt"] for picture in pictures}


def test_the_page_of_a_pretraining_run(letters: ModuleType, tmp_path: Path) -> None:
    run = api.pretrain(
        "masked-token", tokenizer="letters/seen", data=letters.words(40, longest=30), out=tmp_path / "run",
        settings={"training": {"steps": 4}, "trunk": {"encoder": {"width": 8, "depth": 1, "attention": {"heads": 2}}}},
    )  # fmt: skip
    page = Page((run.folder / "report.html").read_text(encoding="utf-8"))
    assert f"Trained without labels. On held-out data: loss {number(run.scores['valid/loss'])}." in page.text
    assert "letters/seen" in page.text
    assert page.all("img") == []


def test_nothing_from_outside_and_nothing_that_runs(tmp_path: Path) -> None:
    evaluation = Evaluation(
        HOSTILE, HOSTILE, HOSTILE, 40, {HOSTILE: SCORES.scores["error"]}, {HOSTILE: {HOSTILE: 1.0}}, HOSTILE, HOSTILE
    )
    lines = [{**line, f"valid/{HOSTILE}": 1.0} for line in LINES]
    page = page_of(tmp_path, lines, picture=HOSTILE, name=HOSTILE, evaluation=evaluation)
    assert {name for name, _ in page.elements}.isdisjoint({"script", "link", "iframe", "object", "img", "base", "form"})
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "href", "srcdoc", "action")]
    shown = HOSTILE.replace("\x00", "\N{REPLACEMENT CHARACTER}").replace("\x1b", "\N{REPLACEMENT CHARACTER}")
    assert page.text.count(shown.replace("\ud800", "\\ud800")) >= 6
    assert {"http-equiv": "Content-Security-Policy", "content": POLICY} in page.all("meta")
    assert "default-src 'none'" in POLICY


def test_losses_that_are_no_numbers_leave_gaps(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    paths = [str(path["d"]) for path in page.all("path")]
    assert paths[0].count("M") == 4  # 3.0, 2.0, 1.5 and 1.0, each between gaps
    assert "nan" not in "".join(paths).lower()
    assert "1 updates, for a gradient that was not finite" in page.text
    nothing = page_of(tmp_path, [{**line, "train/loss": None, "lr": math.nan, "grad_norm": None} for line in LINES])
    assert nothing.all("path") == []
    assert "How it learned" not in nothing.text


def test_a_run_without_lines_or_held_out_data(tmp_path: Path) -> None:
    page = page_of(tmp_path, lines=[], picture=None, evaluation=None)
    assert "No data was held out, so nothing was scored." in page.text
    assert "Scores beside baselines" not in page.text
    assert page.all("svg") == []


def test_scores_beside_baselines(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert "Skill: better than its best baseline" in page.text
    assert "lower is better" in page.text
    assert "model: 0.5000 (95 %: 0.4000 to 0.6000)" in page.text
    assert "\N{EN DASH} to \N{EN DASH}" in page.text  # no interval, rather than one of zeros
    worse = page_of(tmp_path, evaluation=Evaluation(**{**vars(SCORES), "verdict": "no skill"}))
    assert "verdict bad" in [attributes.get("class") for attributes in worse.all("div")]


def test_each_curve_is_drawn_once_and_ends_once(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"step": 1, "train/loss": 3.0, "train/loss/first": 4.0},
        {"step": 2, "train/loss": 2.0, "train/loss/first": 3.0},
        {"step": 2, "valid/error": 0.6, "valid/first/loss": 3.5},
    ]
    page = page_of(tmp_path, lines)
    assert [title in page.text for title in ("first/loss", "error, held out")] == [True, True]
    assert len(page.all("figure")) == 3 + 2 + 6  # curves, scores, pictures
    assert page.text.count("at step 2") == 2  # of the two held-out curves; the score of step 2 is the final one
    pretrained = page_of(tmp_path, lines[:2], picture=None, evaluation={"valid/loss": 2.5})
    assert "2.500 at step 2" in pretrained.text  # scored once, at the end, and drawn beside the training loss
    assert "held out" in pretrained.text


def test_the_share_of_the_peak_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "peak_of_run", lambda training: 1400.0)
    asked = {"flops_per_token": 5.0, "settings": {"training": {"device": "cpu", "precision": "fp32"}}}
    page = page_of(tmp_path, more=asked)
    assert "140 tokens/s, 50.0% model FLOPs utilisation" in page.text
    assert "cpu, precision fp32" in page.text


def broken() -> None:
    raise KeyError("no\nsuch <label>")


@pytest.mark.parametrize(
    ("picture", "said"),
    [(broken, r"KeyError: 'no\nsuch <label>'"), (lambda: None, "draw returned NoneType, not a matplotlib Figure")],
)
def test_a_picture_that_cannot_be_made_says_why(tmp_path: Path, picture: Any, said: str) -> None:
    page = page_of(tmp_path, picture=picture)
    assert page.text.count(f"No picture: {said}") == 6
    assert "Held-out record 40 of 40" in page.text


def test_without_matplotlib_pictures_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **named)

    def draw() -> Any:
        from matplotlib.figure import Figure

        return Figure()

    monkeypatch.setattr(builtins, "__import__", without)
    page = page_of(tmp_path, picture=draw)
    assert page.text.count("No picture: matplotlib is not installed; to install it: pip install matplotlib") == 6


def test_a_character_that_the_font_lacks_is_told(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    from matplotlib.figure import Figure

    def draw() -> Any:
        figure = Figure()
        figure.text(0, 0, "\u65e5\u672c")
        return figure

    assert "a box stands for a character that the font of the picture lacks" in page_of(tmp_path, picture=draw).text
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_the_environment_names_no_machine_and_no_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "node", lambda: "a-host")
    said = " ".join(value for _, value in environment())
    assert platform.machine() in said
    assert platform.python_version() in said
    names = {name for name, _ in environment()}
    assert names >= {"torch", "anyformer", "threads", *(plugin.distribution for plugin in discovery.find())}
    assert "a-host" not in said
    assert str(Path.home()) not in said


def test_pages_are_replaced_whole(tmp_path: Path) -> None:
    write_page(tmp_path / "a.html", "old", tag("p", "old"))
    write_page(tmp_path / "a.html", "new", tag("p", "new"))
    assert Page((tmp_path / "a.html").read_text()).text.count("new") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]


def test_escaping_in_text_and_attributes() -> None:
    assert tag("p", "a < b", tag("b", "&"), None, class_='"x"') == '<p class="&quot;x&quot;">a &lt; b<b>&amp;</b></p>'
    assert tag("line", stroke_width=2, x1=None) == '<line stroke-width="2"></line>'
    assert escape("a\x7f\tb\n") == "a\N{REPLACEMENT CHARACTER}\tb\n"


def test_long_logs_are_averaged_and_the_chart_says_so() -> None:
    points: list[tuple[float, float | None]] = [(step, 1.0 if step % 2 else 3.0) for step in range(1, 1001)]
    points[3] = (4, None)
    found = thin(points)
    assert len(found) == 334
    assert found[0] == (3, pytest.approx(5 / 3))
    assert found[1] == (6, pytest.approx(2.0))  # of 5 and 6, without the one that is missing
    assert thin(points[:400]) == points[:400]
    assert "each point is the mean of 3 lines of the log" in str(line_chart("loss", [Line("loss", points)]))


def test_scales() -> None:
    scale = Scale.over([0.0, 10.0], 100, 200)
    assert scale(5.0) == 150
    assert scale.ticks() == [0, 5, 10]
    wide = Scale.over([0.001, 10.0], 200, 100, may_log=True)
    assert wide.log
    assert wide.ticks() == [0.001, 0.01, 0.1, 1.0, 10.0]
    assert wide(0.1) == pytest.approx(150, abs=0.1)  # the middle of four powers of ten
    assert not Scale.over([-1.0, 1000.0], 0, 1, may_log=True).log
    for same in (0.0, 5.0, -1e-30, 1e30):
        around = Scale.over([same], 0, 100)
        assert around(same) == 50
        assert all(around.low <= tick <= around.high for tick in around.ticks())


def test_charts_without_a_number_are_left_out() -> None:
    assert line_chart("loss", [Line("loss", [(1, None), (2, math.inf)])]) is None
    assert score_chart("f1", [Score("model", math.nan, 0.1, 0.2, ours=True)]) is None
    drawn = Page(str(score_chart("f1", [Score("model", 0.5, math.nan, math.nan, ours=True), Score("mean", math.nan)])))
    assert len(drawn.all("circle")) == 1
    assert [line["class"] for line in drawn.all("line") if line["class"] != "grid"] == []


def test_the_best_baseline() -> None:
    given: dict[str, float | None] = {"a": 2.0, "b": 1.0, "c": math.nan, "d": None}
    values = {name: {"error": value} for name, value in given.items()}
    metric = Error()
    assert best_baseline(metric, values) == ("b", 1.0)
    metric.higher_is_better = True
    assert best_baseline(metric, values) == ("a", 2.0)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "\N{EN DASH}"), (math.nan, "\N{EN DASH}"), (-math.inf, "\N{EN DASH}"), (0.0, "0.0000"), (0.9, "0.9000"),
        (-0.08056, "-0.0806"), (1.0, "1.000"), (97.216, "97.22"), (1234.5, "1234"), (12345.6, "12,346"),
        (1.26e-5, "1.3e-05"), (3e20, "3.000e+20"), (250, "250"), (12345, "12,345"), (10**16, "1.000e+16"),
    ],
)  # fmt: skip
def test_numbers(value: float | None, said: str) -> None:
    assert number(value) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "0 s"), (59.6, "1 min 0 s"), (80, "1 min 20 s"), (7500, "2 h 5 min"), (4e6, "1,111 h 6 min")]
)  # fmt: skip
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
