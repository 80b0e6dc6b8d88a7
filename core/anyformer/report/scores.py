"""Scores beside baselines: the verdict in words, a table, and a chart for each metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anyformer.report.chart import Score, score_chart
from anyformer.report.markup import Markup, section, table, tag
from anyformer.report.words import number
from anyformer.task import Metric, Task

if TYPE_CHECKING:
    from anyformer.infer.evaluate import Evaluation


def best_baseline(metric: Metric, baselines: Mapping[str, Mapping[str, float | None]]) -> tuple[str, float | None]:
    """Name and value of the baseline that does best on a metric's primary score; one without a value never does."""
    name = metric.names[0]
    sign = 1.0 if metric.higher_is_better else -1.0

    def rank(method: str) -> float:
        value = baselines[method][name]
        return -math.inf if value is None or math.isnan(value) else sign * value

    best = max(baselines, key=rank)
    return best, baselines[best][name]


def verdict_class(verdict: str) -> str:
    """The colour of a verdict."""
    return {"skill": "good", "no skill": "bad"}.get(verdict, "")


def verdict(evaluation: Evaluation | Mapping[str, float] | None) -> Markup:
    """What the run achieved, in a sentence."""
    if evaluation is None:
        return tag("div", "No data was held out, so nothing was scored.", class_="verdict")
    if isinstance(evaluation, Mapping):
        found = ", ".join(f"{name.removeprefix('valid/')} {number(value)}" for name, value in evaluation.items())
        return tag("div", tag("strong", "Trained without labels."), f" On held-out data: {found}.", class_="verdict")
    said = f" {evaluation.reason} (95 % interval of the difference)."
    return tag(
        "div",
        tag("strong", evaluation.verdict.capitalize() + ":"), said,
        class_=f"verdict {verdict_class(evaluation.verdict)}",
    )  # fmt: skip


def scores(evaluation: Evaluation, task: Task[Any, Any, Any]) -> Markup:
    """The table of all scores, and a chart for each."""
    better = {metric.names[0]: metric.higher_is_better for metric in task.metrics()}
    methods = list(evaluation.baselines)
    rows = []
    for name, score in evaluation.scores.items():
        span = f"{number(score['low'])} to {number(score['high'])}"
        others = [number(evaluation.baselines[method].get(name)) for method in methods]
        rows.append([name, tag("strong", number(score["value"])), span, *others])
    columns = ["metric", "model", "95 % interval", *methods]
    about = (
        f"{evaluation.records:,} held-out records. {evaluation.metric!r} decides. The other columns are trivial methods on "
        f"the same records; intervals are of a bootstrap over {'blocks of time' if task.temporal else 'records'}."
    )
    charts = [_chart(evaluation, name, better.get(name)) for name in evaluation.scores]
    return section(
        "Scores beside baselines",
        table(columns, rows, numbers=range(1, len(columns))),
        tag("p", about, class_="soft"),
        tag("div", *charts, class_="charts"),
    )


def _chart(evaluation: Evaluation, name: str, higher_is_better: bool | None) -> Markup | None:
    ours = evaluation.scores[name]
    methods = [Score("model", ours["value"], ours["low"], ours["high"], ours=True)]
    methods += [Score(method, values[name]) for method, values in evaluation.baselines.items() if name in values]
    note = "" if higher_is_better is None else f"{'higher' if higher_is_better else 'lower'} is better"
    return score_chart(name, methods, note)
