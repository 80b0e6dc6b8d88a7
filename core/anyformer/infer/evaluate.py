"""Evaluation: a model beside the trivial methods, with an interval and a verdict.

* Streaming: of a record only the metrics' rows are kept, a few numbers each, and those of many records in a file.
* The interval is a bootstrap over records, in blocks where records follow one another in time.
* The verdict compares with the best baseline on the same records, paired: "skill" only if the interval of the difference
  excludes zero.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anyformer.infer.pipeline import Pipeline
from anyformer.metrics.bootstrap import RowStore, difference, interval
from anyformer.task import Record

BLOCKS = 20
"""Blocks of time that a bootstrap of a series draws from."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model on data, beside its baselines."""

    task: str
    model: str
    data: str
    records: int
    scores: dict[str, dict[str, float]]
    """By metric: value, low, high (95 % interval)."""
    baselines: dict[str, dict[str, float]]
    """By method and metric."""
    verdict: str
    """`skill` or `no skill`."""
    reason: str
    """The verdict in a sentence."""

    @property
    def metric(self) -> str:
        """The deciding metric."""
        return next(iter(self.scores))

    def as_dict(self) -> dict[str, Any]:
        """As JSON values: a score that is not defined is null."""
        values: dict[str, Any] = json_values(vars(self))
        return values

    def __str__(self) -> str:
        width = max(len(name) for name in ["baseline", *self.baselines])
        lines = [f"{self.task} on {self.data}: {self.records} records"]
        for metric, score in self.scores.items():
            value, low, high = (_shown(score[name]) for name in ("value", "low", "high"))
            lines.append(f"  {metric}: {value}  (95 %: {low} to {high})")
            for name, values in self.baselines.items():
                lines.append(f"    {name:<{width}}  {_shown(values[metric])}")
        return "\n".join([*lines, f"  {self.verdict}: {self.reason}"])


def json_values(value: Any) -> Any:
    """A value of nested dicts with null for each number that JSON cannot carry: NaN and the infinities."""
    if isinstance(value, dict):
        return {name: json_values(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shown(value: float | None) -> str:
    return "undefined" if value is None or math.isnan(value) else f"{value:.4f}"


def evaluate(
    pipeline: Pipeline, records: Sequence[Record[Any, Any]], *, model: str = "", data: str = "", seed: int = 0,
    progress: Callable[[int], None] | None = None, **options: Any,
) -> Evaluation:  # fmt: skip
    """Answer every record and score the answers, the model's and the baselines'.

    Raises `ValueError` if there are no records, or the task has no baseline to compare with.
    """
    task = pipeline.task
    methods = task.baselines()
    if not methods:
        raise ValueError(f"{pipeline.component} has no baselines; without one its scores say nothing")
    stores = _answer(pipeline, records, methods, data, progress, options)
    block = max(1, len(records) // BLOCKS) if task.temporal else 1
    scores: dict[str, dict[str, float]] = {}
    for store in stores[""]:
        bounds = interval(store.metric, store.rows, seed=seed, block=block)
        for name, value in store.metric.scores(store.rows).items():
            scores[name] = {"value": value, "low": bounds[name][0], "high": bounds[name][1]}
    baselines = {name: _scores(found) for name, found in stores.items() if name}
    verdict, reason = _judge(stores, seed, block)
    return Evaluation(pipeline.component, model, data, len(records), scores, baselines, verdict, reason)


def score(pipeline: Pipeline, records: Sequence[Record[Any, Any]]) -> dict[str, float]:
    """The model's scores by metric, without intervals and baselines. Raises `ValueError` if there are no records."""
    return _scores(_answer(pipeline, records, {}, "", None, {})[""])


def _answer(
    pipeline: Pipeline, records: Sequence[Record[Any, Any]], methods: Mapping[str, Callable[[Any], Any]], data: str,
    progress: Callable[[int], None] | None, options: Mapping[str, Any],
) -> dict[str, list[RowStore]]:  # fmt: skip
    """The rows of each metric by method; the model's method is called ''."""
    if not len(records):
        raise ValueError(f"{data or 'the data'} has no records to evaluate on")
    metrics = pipeline.task.metrics()
    stores = {name: [RowStore(metric) for metric in metrics] for name in ("", *methods)}
    waiting: deque[Record[Any, Any]] = deque()
    answers = pipeline.stream(_inputs(records, waiting), **options)
    for done, output in enumerate(answers, start=1):
        record = waiting.popleft()
        _keep(stores[""], output, record.target)
        for name, method in methods.items():
            _keep(stores[name], method(record.input), record.target)
        if progress is not None:
            progress(done)
    return stores


def _inputs(records: Sequence[Record[Any, Any]], waiting: deque[Record[Any, Any]]) -> Iterator[Any]:
    """Inputs one by one; the record waits for its answer."""
    for record in records:
        waiting.append(record)
        yield record.input


def _keep(stores: Sequence[RowStore], output: Any, target: Any) -> None:
    for store in stores:
        store.append(store.metric.row(output, target))


def _scores(stores: Sequence[RowStore]) -> dict[str, float]:
    return {name: value for store in stores for name, value in store.metric.scores(store.rows).items()}


def _judge(stores: Mapping[str, Sequence[RowStore]], seed: int, block: int) -> tuple[str, str]:
    """The verdict on the deciding metric, against the best baseline."""
    metric = stores[""][0].metric
    name = metric.names[0]
    sign = 1.0 if metric.higher_is_better else -1.0
    found = {method: sign * metric.scores(store[0].rows)[name] for method, store in stores.items()}
    ours = found.pop("")
    values = {method: value for method, value in found.items() if not math.isnan(value)}
    if math.isnan(ours):
        return "no skill", f"{name} of the model is not defined on these records"
    if not values:
        return "no skill", f"{name} of no baseline is defined on these records, so there is nothing to compare with"
    best = max(values, key=lambda method: values[method])
    low, high = difference(metric, stores[""][0], stores[best][0], seed=seed, block=block)
    gain = sorted((sign * low, sign * high))
    span = f"{name} differs from {best!r} by {low:+.4f} to {high:+.4f}"
    if gain[0] > 0:
        return "skill", f"better than its best baseline: {span}"
    if gain[1] < 0:
        return "no skill", f"worse than its best baseline: {span}"
    return "no skill", f"not shown to be better than its best baseline: {span}"
