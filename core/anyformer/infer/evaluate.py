"""Evaluation: a model beside the trivial methods, with an interval and a verdict.

* Streaming: of a record only the metrics' rows are kept, a few numbers each.
* The interval is a bootstrap over records, in blocks where records follow one another in time.
* The verdict compares with the best baseline on the same records, paired: "skill" only if the interval of the difference
  excludes zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from anyformer.infer.pipeline import Pipeline
from anyformer.metrics.bootstrap import RowStore, difference, interval
from anyformer.task import Metric, Record

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
        """As JSON values."""
        return vars(self).copy()

    def __str__(self) -> str:
        width = max(len(name) for name in ["baseline", *self.baselines])
        lines = [f"{self.task} on {self.data}: {self.records} records"]
        for metric, score in self.scores.items():
            lines.append(f"  {metric}: {score['value']:.4f}  (95 %: {score['low']:.4f} to {score['high']:.4f})")
            for name, values in self.baselines.items():
                lines.append(f"    {name:<{width}}  {values[metric]:.4f}")
        return "\n".join([*lines, f"  {self.verdict}: {self.reason}"])


def evaluate(
    pipeline: Pipeline, records: Sequence[Record[Any, Any]], *, model: str = "", data: str = "", seed: int = 0,
    progress: Callable[[int], None] | None = None, **options: Any,
) -> Evaluation:  # fmt: skip
    """Answer every record and score the answers, the model's and the baselines'.

    Raises `ValueError` if there are no records.
    """
    if not len(records):
        raise ValueError(f"{data or 'the data'} has no records to evaluate on")
    task = pipeline.task
    metrics = task.metrics()
    methods: dict[str, Callable[[Any], Any]] = task.baselines()
    stores = {name: [RowStore(metric) for metric in metrics] for name in ("", *methods)}
    targets: list[Any] = []
    answers = pipeline.stream(_inputs(records, targets), **options)
    for done, output in enumerate(answers, start=1):
        record = targets.pop(0)
        _keep(stores[""], output, record.target)
        for name, method in methods.items():
            _keep(stores[name], method(record.input), record.target)
        if progress is not None:
            progress(done)
    block = max(1, len(records) // BLOCKS) if task.temporal else 1
    scores: dict[str, dict[str, float]] = {}
    for metric, store in zip(metrics, stores[""], strict=True):
        bounds = interval(metric, store.rows, seed=seed, block=block)
        for name, value in metric.scores(store.rows).items():
            scores[name] = {"value": value, "low": bounds[name][0], "high": bounds[name][1]}
    baselines: dict[str, dict[str, float]] = {name: {} for name in methods}
    for name in methods:
        for metric, store in zip(metrics, stores[name], strict=True):
            baselines[name].update(metric.scores(store.rows))
    verdict, reason = _judge(metrics[0], stores, seed, block)
    return Evaluation(pipeline.component, model, data, len(records), scores, baselines, verdict, reason)


def _inputs(records: Sequence[Record[Any, Any]], targets: list[Any]) -> Iterator[Any]:
    """Inputs one by one; the record waits in `targets` for its answer."""
    for record in records:
        targets.append(record)
        yield record.input


def _keep(stores: Sequence[RowStore], output: Any, target: Any) -> None:
    for store in stores:
        store.append(store.metric.row(output, target))


def _judge(metric: Metric, stores: dict[str, list[RowStore]], seed: int, block: int) -> tuple[str, str]:
    """The verdict on the deciding metric, against the best baseline."""
    name = metric.names[0]
    sign = 1.0 if metric.higher_is_better else -1.0
    values = {method: sign * metric.scores(store[0].rows)[name] for method, store in stores.items() if method}
    best = max(values, key=lambda method: values[method])
    low, high = difference(metric, stores[""][0].rows, stores[best][0].rows, seed=seed, block=block)
    gain = sorted((sign * low, sign * high))
    span = f"{name} differs from {best!r} by {low:+.4f} to {high:+.4f}"
    if gain[0] > 0:
        return "skill", f"better than its best baseline: {span}"
    if gain[1] < 0:
        return "no skill", f"worse than its best baseline: {span}"
    return "no skill", f"not shown to be better than its best baseline: {span}"
