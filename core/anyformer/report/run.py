"""A run's page: what it achieved, how it learned, what it answers, and all that is needed to do it again.

Of a run with several parts, verdict, scores, pictures and data are there for each, under its id.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from anyformer.parts import parts_told
from anyformer.plugins import discovery
from anyformer.report.chart import Line, Point, line_chart
from anyformer.report.markup import Markup, section, table, tag, write_page
from anyformer.report.pictures import figure, pictures
from anyformer.report.scores import scores, verdict
from anyformer.report.words import duration, number

if TYPE_CHECKING:
    from anyformer.data.dataset import Dataset
    from anyformer.infer.evaluate import Evaluation
    from anyformer.infer.pipeline import Pipeline
    from anyformer.train.run import Run

NAME = "report.html"
NUM_PICTURES = 6
TRAIN, VALID = "train/", "valid/"
"""What the names of losses and of periodic scores begin with in the log."""
PART_LOSS = "train/loss/"
"""What the name of the loss of one of several parts begins with there."""


@dataclass(frozen=True)
class Shown:
    """What a page shows of one part of a run."""

    id: str
    pipeline: Pipeline | None
    """The trained task; None for an objective, which has no answers to draw."""
    data: Dataset
    """Its held-out rows are drawn."""
    evaluation: Evaluation | Mapping[str, float] | None
    """Of a task; or scores by name, as an objective has them (`{"valid/loss": 2.1}`); None where nothing was held out."""

    @property
    def scores(self) -> Markup | None:
        """The table and the charts of a task."""
        if self.pipeline is None or self.evaluation is None or isinstance(self.evaluation, Mapping):
            return None
        return scores(self.evaluation, self.pipeline.task)

    @property
    def final(self) -> dict[str, float]:
        """The scores at the end under the names that the log of a run of this part alone has."""
        if self.evaluation is None or isinstance(self.evaluation, Mapping):
            return dict(self.evaluation or {})
        return {VALID + name: score["value"] for name, score in self.evaluation.scores.items()}


def write_run(run: Run, parts: Sequence[Shown]) -> Path:
    """Write `report.html` into a run's folder, whose settings and log are read, and return its path."""
    asked, lines = run.settings, run.log.lines()
    title = " \N{MIDDLE DOT} ".join(str(asked[key]) for key in ("id", "tokenizer") if asked.get(key))
    several = len(parts) > 1
    achieved = [
        (tag("h2", part.id) if several else None, verdict(part.evaluation), part.scores)
        for part in parts
    ]  # fmt: skip
    pictured = [
        _pictures(part.pipeline, part.data, f": {part.id}" if several else "")
        for part in parts
        if part.pipeline is not None
    ]
    return write_page(
        run.folder / NAME,
        f"{title}, {run.folder.name}",
        tag("h1", title),
        tag("p", f"run {run.folder.name}", class_="soft"),
        *(shown for of_part in achieved for shown in of_part),
        _curves(lines, _final(parts)),
        *pictured,
        section("The run", table((), _facts(asked, parts, lines))),
        section("Configuration", _configuration(asked)),
        section("Environment", table((), environment(asked["settings"].get("training", {})))),
    )


def environment(training: Mapping[str, Any] | None = None) -> list[tuple[str, str]]:
    """Where a run was trained, as far as it bears on numbers and speed; it names no machine and no person.

    `training` are the settings of the run; None: of no single one.
    """
    import torch

    from anyformer.train.parallel.world import started

    rows = [("python", platform.python_version()), ("torch", torch.__version__), ("numpy", version("numpy"))]
    rows += [(name, found) for name, found in sorted({"anyformer": version("anyformer"), **_plugins()}.items())]
    rows += [
        ("system", f"{platform.system()} on {platform.machine()}"),
        ("processors", number(os.cpu_count())),
        ("threads", number(torch.get_num_threads())),
        *([("processes of the run", number(started()))] if started() > 1 else []),
    ]
    if torch.cuda.is_available():
        rows.append(("gpu", f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"))
    if training is not None and "device" in training:
        device = training["device"]
        found = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        rows.append(("device", f"{found}, precision {training.get('precision', 'auto')}"))
    return rows


def _plugins() -> dict[str, str]:
    """Version of each distribution that an installed plugin comes from."""
    return {found.distribution: found.version for found in discovery.find()}


def _final(parts: Sequence[Shown]) -> dict[str, float]:
    """The scores at the end under the names that the log has."""
    if len(parts) == 1:
        return parts[0].final
    return {
        f"{VALID}{part.id}/{name.removeprefix(VALID)}": value for part in parts for name, value in part.final.items()
    }


def _curves(lines: Sequence[Mapping[str, Any]], final: Mapping[str, float]) -> Markup | None:
    """Each loss and score, in training and on held-out records up to the final one; learning rate; norm of the gradient."""
    series: dict[str, list[Point]] = {}
    for line in lines:
        for name, value in line.items():
            if name.startswith(PART_LOSS):  # beside its held-out one, which ends with the score
                name = f"{TRAIN}{name.removeprefix(PART_LOSS)}/loss"
            series.setdefault(name, []).append((line["step"], value))
    _finish(series, final, max((line["step"] for line in lines), default=0))
    both = [name.partition("/")[2] for name in series if name.startswith((TRAIN, VALID))]
    charts = []
    for name in dict.fromkeys(["loss", *both]):
        drawn = [
            Line("training", series.get(TRAIN + name, [])),
            Line("held out", series.get(VALID + name, []), "other"),
        ]
        present = [line for line in drawn if line.points]
        title = f"{name}, held out" if [line.name for line in present] == ["held out"] else name
        charts.append(line_chart(title, present))
    charts.append(line_chart("learning rate", [Line("", series.get("lr", []))], may_log=False))
    charts.append(line_chart("norm of the gradient", [Line("", series.get("grad_norm", []))]))
    known = [chart for chart in charts if chart is not None]
    return section("How it learned", tag("div", *known, class_="charts")) if known else None


def _finish(series: dict[str, list[Point]], final: Mapping[str, float], step: int) -> None:
    """Add what was scored at the end, where it has a curve or is a loss, and was not scored at that step already."""
    for name, value in final.items():
        if name in series or name == VALID + "loss" or name.endswith("/loss"):
            points = series.setdefault(name, [])
            if step and (not points or points[-1][0] < step):
                points.append((step, value))


def _pictures(pipeline: Pipeline, data: Dataset, of: str) -> Markup | None:
    if not len(data.valid):
        return None
    drawn = pictures(pipeline, pipeline.task.records(data.valid), NUM_PICTURES)
    about = tag("p", "Taken at even distances from the held-out records, not chosen.", class_="soft")
    return section(f"What it answers{of}", about, tag("div", *map(figure, drawn), class_="charts"))


def _facts(
    asked: Mapping[str, Any], parts: Sequence[Shown], lines: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str]]:
    told = {part["id"]: part for part in parts_told(asked)}
    rows = [
        (f"{name} of {part.id}" if len(parts) > 1 else name, value)
        for part in parts
        for name, value in _data_facts(part.data, told[part.id])
    ]
    rows.append(("parameters", number(asked["parameters"])))
    steps = [line for line in lines if "seconds" in line]
    if steps:
        last, seconds = steps[-1], max(steps[-1]["seconds"], 1e-9)
        rows.append(("training", f"{number(last['step'])} steps in {duration(seconds)}"))
        rates = [f"{number(round(last[name] / seconds))} {name}/s" for name in ("records", "tokens")]
        share = _utilisation(asked, last["tokens"] / seconds)
        rows.append(("speed", ", ".join([*rates, *share])))
        if last["skipped"]:
            rows.append(("skipped", f"{number(last['skipped'])} updates, for a gradient that was not finite"))
        if last.get("bad_records"):
            rows.append(("left out", f"{number(last['bad_records'])} records of the training part that cannot be used"))
    rows += [("start", line) for line in asked.get("start") or []]
    return rows


def _data_facts(data: Dataset, part: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Where one part's data came from, and how long its records are."""
    told = data.asked
    held_out = f"{told['valid']:.0%} of the data" if isinstance(told["valid"], float) else data.valid_name
    both = f", {number(told['in_both'])} of them in the training part too" if told["in_both"] else ""
    rows = [
        ("data", f"{told['data']}, {number(told['rows'])} rows" if told["rows"] is not None else told["stream"]),
        ("held out", f"{held_out}, {number(told['valid_rows'])} rows{both}"),
        ("tokens of a record", f"{part['tokens_per_record']:,g} on average"),
    ]
    return [*rows, ("weight", number(part["weight"]))] if "weight" in part else rows


def _utilisation(asked: Mapping[str, Any], rate: float) -> list[str]:
    """The share of the GPU's peak that went into the model's own products; nothing where that is not known."""
    from anyformer.plan.devices import peak_of_run

    cost = asked.get("flops_per_token") or 0.0
    peak = peak_of_run(asked["settings"]["training"]) if cost else None
    return [] if peak is None else [f"{rate * cost / peak:.1%} model FLOPs utilisation"]


def _configuration(asked: Mapping[str, Any]) -> Markup:
    text = yaml.safe_dump(dict(asked), sort_keys=False, allow_unicode=True, width=100)
    return tag("details", tag("summary", "All that was asked, as run.yaml has it"), tag("pre", text))
